"""What ``fedrounds provision`` adds to the coordinator's ``audit.jsonl``. No secrets."""

from __future__ import annotations

from pathlib import Path

from common.journal import append_line, user

AUDIT = "audit.jsonl"


def write_audit(folder: Path, event: str, **facts: str | bool) -> None:
    """Append one line: when, what was done, and by which user of this machine."""
    append_line(folder / AUDIT, {"event": event, "by": user(), **facts})
