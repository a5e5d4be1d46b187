"""A SuperLink and two SuperNodes, real processes on loopback, run the same rounds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tomli_w

from common.bundle import PYPROJECT, PYPROJECT_NAME
from common.checkpoint import read_tensors
from common.flower import ENVIRONMENT
from server.deploy.jobfile import JOB_FILE, write_job
from server.job import Job
from server.rounds import run_rounds
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts

BIN = Path(sys.executable).parent
CONNECTION = "loopback"
TIMEOUT = 150.0

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    poll = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **ENVIRONMENT, **poll, "FLWR_HOME": str(home), "PATH": path}


@contextmanager
def process(
    words: list[str], home: Path, log: Path, more: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session, so that its children end with it."""
    with log.open("wb") as stream:
        started = subprocess.Popen(
            words,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment(home) | (more or {}),
            cwd=home,
            start_new_session=True,
        )
        try:
            yield started
        finally:
            os.killpg(started.pid, 9)
            started.wait()


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT:.0f} s for {what}"
        time.sleep(0.2)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_app(folder: Path) -> None:
    """A bundle without code: it names the apps that are installed already."""
    folder.mkdir()
    (folder / PYPROJECT_NAME).write_text(PYPROJECT, encoding="utf-8")


def test_real_processes_give_the_bits_of_the_in_process_engine(
    site_folders: Callable[..., tuple[Cohorts, list[Path]]], tmp_path: Path
) -> None:
    cohorts, folders = site_folders("rounds=2")
    output = tmp_path / "deployed"
    job = Job(cohorts.experiment, "run", len(folders), output)
    port, home = free_port(), tmp_path / "home"
    write_app(tmp_path / "app")
    output.mkdir()
    write_job(output / "job.json", job)
    logs = tmp_path / "logs"
    logs.mkdir()
    with ExitStack() as stack:
        link = [str(BIN / "flower-superlink"), "--insecure", "--port", str(port)]
        names_job = {JOB_FILE: str(output / "job.json")}
        stack.enter_context(process(link, home, logs / "superlink", names_job))
        wait_for(lambda: is_open(port), "the SuperLink")
        for number, folder in enumerate(folders):
            node = [str(BIN / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--port", str(free_port()), "--node-config", f'site="{folder}"']
            own_home = tmp_path / f"home{number}"
            stack.enter_context(process(node, own_home, logs / f"supernode{number}"))
        connection = {"superlink": {CONNECTION: {"address": f"127.0.0.1:{port}", "insecure": True}}}
        (home / "config.toml").write_text(tomli_w.dumps(connection), encoding="utf-8")
        submitted = subprocess.run(
            [str(BIN / "flwr"), "run", str(tmp_path / "app"), CONNECTION],
            env=environment(home),
            cwd=home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
        try:
            wait_for(lambda: (output / "result.json").exists(), "the result")
        except AssertionError:
            print("\n".join(f"== {p.name}\n{p.read_text()[-3000:]}" for p in logs.iterdir()))
            raise
    deployed, _ = read_tensors(output, "model")
    assert json.loads((output / "result.json").read_text())["rounds"] == 2

    become_server()
    local = tmp_path / "local"
    local.mkdir()
    outcome = run_rounds(
        InProcessGrid(folders, None), Job(cohorts.experiment, "run", len(folders), local)
    )
    assert {k: v.tobytes() for k, v in deployed.items()} == {
        k: v.tobytes() for k, v in outcome.models["shared"].items()
    }
