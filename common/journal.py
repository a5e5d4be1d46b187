"""Files of JSON lines that are only ever added to: logs, audits, disclosures."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def append_line(path: Path, facts: Mapping[str, Any]) -> None:
    """Append one line that begins with the time, in UTC.

    One write a line: several processes may append to one file.
    """
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def user() -> str:
    """Who is at the keyboard, for an audit; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line; half a line, which is still being written, is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Follower:
    """Reads a file of JSON lines as it grows."""

    def __init__(self, path: Path, from_start: bool = True) -> None:
        """Begin at the file's start, or at its present end."""
        self._path = path
        self._offset = 0 if from_start or not path.exists() else path.stat().st_size

    def new(self) -> Iterator[dict[str, Any]]:
        """The whole lines that were added since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                yield json.loads(raw)


class Journal:
    """A folder's ``log.jsonl`` and ``audit.jsonl``, and what its owner reads on the terminal.

    The log holds what every process says. The audit holds who came, what was approved, refused and
    released: names, codes and digests, nothing that follows from a patient.
    """

    MAX_LOG_BYTES = 50_000_000

    def __init__(self, folder: Path, stream: TextIO | None = None) -> None:
        """Open a folder's; a log that has grown large is put aside, and the one before it goes."""
        self.folder = folder
        self._stream = stream
        if self.log_path.exists() and self.log_path.stat().st_size > self.MAX_LOG_BYTES:
            self.log_path.replace(folder / "log.old.jsonl")

    @property
    def log_path(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def audit_path(self) -> Path:
        return self.folder / "audit.jsonl"

    def say(self, text: str, **facts: Any) -> None:
        """Tell the person at the terminal, and log it."""
        append_line(self.log_path, {"process": "fedrounds", "text": text, **facts})
        print(text, file=self._stream or sys.stdout, flush=True)

    def audit(self, event: str, **facts: Any) -> None:
        """Write what must be found again: to the audit, and to the log."""
        append_line(self.audit_path, {"event": event, **facts})
        append_line(self.log_path, {"process": "fedrounds", "event": event, **facts})

    def output(self, process: str, line: str) -> None:
        """Log a line that a child process printed."""
        text = _ANSI.sub("", line).rstrip()
        if text:
            append_line(self.log_path, {"process": process, "text": text})
