"""A whole command's seconds, and the most memory that its processes had together."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import ProcessError
from simulations.loopback import family_of

LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Cost:
    """Of one command.

    Attributes:
        seconds: from start to end.
        mebibytes: at most, of the process and all that it started; a page that several share is
            counted once (proportional set size).
        said: what it printed.
    """

    seconds: float
    mebibytes: float
    said: str


def cost_of(*words: str) -> Cost:
    """Run ``python WORDS`` and watch it.

    Raises:
        ProcessError: where it failed.
    """
    started, most = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        process = subprocess.Popen([sys.executable, *words], stdout=said, stderr=wrong)
        while process.poll() is None:
            most = max(most, sum(_mebibytes(p.pid) for p in family_of(process.pid)))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        seconds = time.perf_counter() - started
        said.seek(0)
        wrong.seek(0)
        if process.returncode:
            text = " ".join(words)
            raise ProcessError(f"{text} ended with {process.returncode}: {wrong.read()[-2000:]}")
        return Cost(seconds, most, said.read())


def _mebibytes(pid: int) -> float:
    """A process's share of memory; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
