"""The parent's side of one worker process: starts it, asks, gives it up, starts it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from select import POLLIN, poll
from typing import Any

from common.data.decoding.limits import LIMITS, Limits

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 600.0
"""For a worker to start and import what it needs, on a busy machine; it is no file's time."""
MOST_LINE = 2**20
MOST_REASON = 300
PROGRAM = "common.data.decoding.worker"


@dataclass(frozen=True)
class Refusal:
    """Why a file is not read. The reason names tags and limits, and holds nothing of the file."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Reply:
    """A worker's answer: its line, and the bytes that its ``shape`` announces."""

    line: Mapping[str, Any]
    payload: bytes


class Worker:
    """One worker process, started when it is first asked, and again after it has died.

    Not safe for threads: each has its own.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._answered = False
        self._rest = b""
        self._number = 0

    def ask(self, path: Path, request: Mapping[str, Any]) -> Reply | Refusal:
        """Have one file read.

        Args:
            path: the file.
            request: the rest of what the worker is asked (see its docstring).

        Returns:
            Its reply; a refusal where it refused, ran out of time or memory, or died.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            return Refusal(path, f"it cannot be opened: {error.strerror}")
        try:
            reply = self._ask(path, request, self._limits.wall_seconds_for(size))
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                self.close()
                return Refusal(path, "reading it did not come to an end")
            return Refusal(path, self._why_it_died(size))
        except ValueError:  # a codec that was taken over could write anything
            self.close()
            return Refusal(path, "its decoder gave no proper answer")
        except BaseException:  # an answer that nobody waits for must not meet the next question
            self.close()
            raise
        if "refused" in reply.line:
            reason = str(reply.line["refused"])[:MOST_REASON]
            return Refusal(path, "".join(c if c.isprintable() else "?" for c in reason))
        return reply

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _ask(self, path: Path, request: Mapping[str, Any], seconds: float) -> Reply:
        self._number += 1
        question = {"number": self._number, "path": str(path.absolute()), **request}
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        start = 0.0 if self._answered else START_SECONDS
        reply = self._receive(time.monotonic() + start + seconds)
        self._answered = True
        if reply.line.get("number") != self._number:
            raise ValueError
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid():
            if self._process.poll() is None:
                return self._process
            self.close()  # it was killed while it was idle: no file's fault
        # One thread each: the worker's memory is limited, and there is a worker for each core.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM, json.dumps(asdict(self._limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        )
        self._owner, self._answered, self._rest = os.getpid(), False, b""
        return self._process

    def _receive(self, deadline: float) -> Reply:
        while b"\n" not in self._rest:
            self._rest += self._read_chunk(deadline)
            if len(self._rest) > MOST_LINE:
                raise ValueError
        text, _, self._rest = self._rest.partition(b"\n")
        line = json.loads(text)
        if not isinstance(line, dict):
            raise ValueError
        size = _bytes_of(line.get("shape"))
        parts, got = [self._rest], len(self._rest)
        while got < size:
            parts.append(self._read_chunk(deadline))
            got += len(parts[-1])
        whole = b"".join(parts)
        if len(whole) != size:
            raise ValueError
        self._rest = b""
        return Reply(line, whole)

    def _read_chunk(self, deadline: float) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise EOFError
        descriptor = process.stdout.fileno()
        poller = poll()
        poller.register(descriptor, POLLIN)
        if not poller.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        chunk = os.read(descriptor, 2**20)
        if not chunk:
            raise EOFError
        return chunk

    def _why_it_died(self, size: int) -> str:
        """The reason in a dead worker's exit status."""
        process = self._process
        status = None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=5)
        self.close()
        if status == -signal.SIGPROF:
            return (
                f"decoding it takes more than {self._limits.seconds_for(size):.1f} s of processor "
                "time, which a file of its size may"
            )
        if status is not None and status < 0:
            return f"its decoder crashed ({signal.Signals(-status).name})"
        return "its decoder could not be started, or ended"


def _bytes_of(shape: object) -> int:
    """Bytes of a uint8 array of that shape; 0 where there is none."""
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 4:
        raise ValueError
    size = 1
    for length in shape:
        if type(length) is not int or not 0 < length <= 2**20:
            raise ValueError
        size *= length
    if size > 2**32:
        raise ValueError
    return size
