"""What ``fedrounds provision`` adds to the coordinator's ``audit.jsonl``. No secrets."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from common.journal import append_line

AUDIT = "audit.jsonl"


def write_audit(folder: Path, event: str, **facts: str | bool) -> None:
    """Append one line: when, what was done, and by which user of this machine."""
    append_line(folder / AUDIT, {"event": event, "by": _user(), **facts})


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
