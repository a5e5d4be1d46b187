"""The report of a run that has ended, written by ``fedrounds report``: the server imports no
simulations."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from common.journal import Journal

SECONDS = 60.0
"""How long the report may take, which takes some five: a run that has ended must not wait on it."""
TRIES = 2


def write_report(folder: Path, journal: Journal) -> None:
    """Write page and card into a run's folder, or say why they are not there."""
    words = [sys.executable, "-X", "faulthandler", "-m", "fedrounds", "report", str(folder)]
    for _ in range(TRIES):
        code, said = _run(words)
        if code == 0:
            journal.say(f"report: {folder / 'report.html'}")
            return
        if code is not None:
            journal.say(f"no report was written: {said.strip()}")
            return
        for line in said.splitlines():
            journal.output("report", line)
    journal.say(
        f"no report was written within {SECONDS:.0f} s, {TRIES} times: {journal.log_path} says "
        f"where it stood, and 'fedrounds report {folder}' writes it"
    )


def _run(words: list[str]) -> tuple[int | None, str]:
    """The exit code and what went to stderr; no code, and where it stood, of one that hangs."""
    with tempfile.TemporaryFile() as errors:  # a pipe would wait for whatever else holds it
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        code: int | None = None
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        errors.seek(0)
        return code, errors.read().decode(errors="replace")
