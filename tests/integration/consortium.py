"""A consortium on this machine, as the deployment's tests need it: folders, processes, faults."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedrounds
from common.checkpoint import read_tensors
from common.journal import read_lines
from tests.conftest import PROJECT

MARKS = [
    pytest.mark.integration,
    pytest.mark.deployment,
    pytest.mark.skipif(
        not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="needs nginx"
    ),
]

COMMAND = [sys.executable, str(PROJECT / "fedrounds.py")]
FAST = ["experiment=phantom", "local_steps=2", "model.width=4", "strategy.batch_size=8"]
PLAIN = [*FAST, "privacy=none"]
PRIVATE = [*FAST, "privacy=patient", "privacy.delta=1e-3"]
TIMEOUT = 150.0
SITES = ("eastbrook", "northfield", "southgate")


@dataclass
class World:
    """The folders of a consortium and of its sites, and the sites' processes."""

    base: Path
    hospitals: Path
    clients: dict[str, subprocess.Popen[bytes]]

    @property
    def coordinator(self) -> Path:
        return self.base / "coordinator"

    def kit(self, site: str) -> Path:
        return self.base / "kits" / site

    def start_site(self, site: str) -> None:
        self.clients[site] = spawn(["client", str(self.kit(site))], self.base / f"{site}.out")

    def start_sites(self) -> None:
        """Those that do not run yet."""
        for site in SITES:
            if site not in self.clients:
                self.start_site(site)

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

    def audit(self, site: str, event: str) -> list[dict[str, Any]]:
        return [e for e in read_lines(self.kit(site) / "audit.jsonl") if e["event"] == event]

    @contextmanager
    def server(self, run: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A server for the run in ``run``; ended with the block, if not before."""
        output = f"output_dir={self.base / run}"
        process = spawn(["server", str(self.coordinator), *words, output], self.base / f"{run}.out")
        try:
            yield process
        except BaseException:
            print((self.base / f"{run}.out").read_text()[-3000:])
            raise
        finally:
            stop(process)


def spawn(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*COMMAND, *words], stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent
        )


def stop(process: subprocess.Popen[bytes]) -> float:
    """SIGTERM, and how long it took to end with everything that it started."""
    started = time.monotonic()
    family = family_of(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    expect_gone(family)
    return time.monotonic() - started


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the one process that a person started; the rest must not outlive it."""
    family = family_of(process.pid)
    assert family
    process.kill()
    process.wait()
    expect_gone(family)


def family_of(pid: int) -> set[int]:
    """Everything that a process started, directly or not."""
    found: set[int] = set()
    while more := {child for child, parent in processes() if parent in {pid, *found}} - found:
        found |= more
    return found


def processes() -> list[tuple[int, int]]:
    """Every process that has not ended, with its parent."""
    words = ["ps", "-A", "-o", "pid=,ppid=,stat="]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]


def expect_gone(family: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := family & {pid for pid, _ in processes()}:
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
    done = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True)
    rows = [line.strip().partition(" ") for line in done.stdout.splitlines()]
    family = family_of(parent)
    return next(int(pid) for pid, _, args in rows if words in args and int(pid) in family)
