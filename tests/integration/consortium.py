"""What the deployment's tests expect of a consortium on this machine, and the faults they make."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedrounds
from common.checkpoint import read_tensors
from common.journal import read_lines
from simulations.loopback import SITES, Loopback, Process, family_of, processes, terminate

MARKS = [
    pytest.mark.integration,
    pytest.mark.deployment,
    pytest.mark.skipif(
        not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="needs nginx"
    ),
]

FAST = ["experiment=phantom", "local_steps=2", "model.width=4", "strategy.batch_size=8"]
PLAIN = [*FAST, "privacy=none"]
PRIVATE = [*FAST, "privacy=patient", "privacy.delta=1e-3"]
TIMEOUT = 150.0


class World(Loopback):
    """A consortium on this machine, and what is expected of its runs."""

    def events(self, run: str) -> list[dict[str, Any]]:
        return read_lines(self.base / run / "events.jsonl")

    def rounds(self, run: str) -> list[dict[str, Any]]:
        return [event for event in self.events(run) if event["event"] == "round"]

    def give_ledgers(self) -> None:
        """From here on the sites train with privacy alone, under a cap."""
        for site in SITES:  # each of its files is read anew for each message
            path = self.kit(site) / "site.yaml"
            values = yaml.safe_load(path.read_text())
            values["policy"] |= {"train_without_privacy": False, "epsilon_max": 8.0, "delta": 1e-3}
            path.write_text(yaml.safe_dump(values))
            assert fedrounds.main(["ledger", "init", str(self.kit(site))]) == 0

    def rounds_without(self, run: str, site: str) -> list[int]:
        return [r["round"] for r in self.rounds(run) if site in r["refused"]]

    def expect_left_out_and_back(self, run: str, site: str) -> None:
        """The site stands in the newest round again, after one that did without it."""
        wait_for(lambda: self.rounds_without(run, site), f"a round without {site}")
        wait_for(lambda: site in self.rounds(run)[-1]["answered"], f"the return of {site}")

    def expect_each_round_once(self, run: str, rounds: int) -> None:
        lines = read_lines(self.base / run / "rounds.jsonl")
        assert [line["round"] for line in lines] == list(range(1, rounds + 1))
        assert all(line["applied"] for line in lines)
        for line in lines:
            assert set(line["answered"]).isdisjoint(line["refused"])
            assert set(line["answered"]) | set(line["refused"]) == set(SITES)

    def audit(self, site: str, event: str) -> list[dict[str, Any]]:
        return [e for e in read_lines(self.kit(site) / "audit.jsonl") if e["event"] == event]

    @contextmanager
    def server(self, run: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """The same; what it printed is shown where the test fails, and no process may be left."""
        with super().server(run, *words) as process:
            try:
                yield process
            except BaseException:
                print((self.base / f"{run}.out").read_text()[-3000:])
                print((self.coordinator / "log.jsonl").read_text()[-6000:])
                raise
            finally:
                stop(process)


def stop(process: subprocess.Popen[bytes]) -> float:
    """SIGTERM, and how long it took to end with everything that it started."""
    started = time.monotonic()
    family = family_of(process.pid)
    terminate(process)
    expect_gone(family)
    return time.monotonic() - started


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the one process that a person started; the rest must not outlive it."""
    family = family_of(process.pid)
    assert len(family) > 1
    process.kill()
    process.wait()
    expect_gone(family)


def expect_gone(family: list[Process]) -> None:
    deadline = time.monotonic() + 10
    pids = {process.pid for process in family}
    while left := [process for process in processes() if process.pid in pids]:
        assert time.monotonic() < deadline, f"orphans: {left}"
        time.sleep(0.1)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT:.0f} s for {what}"
        time.sleep(0.2)


def weights(folder: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in read_tensors(folder, "model")[0].items()}


def copy_of(kit: Path, target: Path, port: int | None = None) -> Path:
    """Somebody's copy of a site's folder; with another port, if one is given."""
    shutil.copytree(kit, target, ignore=shutil.ignore_patterns("flower", "*.lock", "*.jsonl"))
    if port is not None:
        path = target / "consortium.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "port": port}))
    return target


def new_key(folder: Path) -> Path:
    (folder / "node.key").unlink()
    (folder / "node.pub").unlink()
    assert fedrounds.main(["client", "init", str(folder)]) == 0
    return folder


def pid_of(words: str, parent: int) -> int:
    """The process of ``parent``'s family whose command holds ``words``."""
    return next(process.pid for process in family_of(parent) if words in process.words)
