"""The processes that train sites end with the one that started them, whatever they are at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, time
from flwr.app import Message, RecordDict
from simulations.flower import become_server
from simulations.workers import WorkerPool

if __name__ == "__main__":
    multiprocessing.set_forkserver_preload(["common.mortal"])  # as simulations/warm.py does
    become_server()
    pool = WorkerPool(1)
    list(pool.run([(Message(RecordDict(), 1, "query"), "no site")]))  # refused; now it serves
    print(pool._workers[0].process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems cannot ask for it")
def test_a_worker_does_not_outlive_a_simulation_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "starts_one.py"
    script.write_text(SCRIPT)
    project = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(project)},
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGSTOP)  # as one that is in the middle of a long message
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
