"""What the gate says while a site trains: in the site's own log, and nowhere else.

Each message is a new process, so what was said last is kept in ``cache/gate.json``: a line is
written when what it says has changed, and not with every message.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from common.checkpoint import write_json
from common.data.decoding.process import Refusal
from common.data.duplicates import Duplicates, Group
from common.data.manifest import Manifest
from common.journal import append_line, read_lines

PROCESS = "gate"
NAMED = 3
"""Files that a line names; ``fedrounds data`` names all."""


def note(folder: Path, topic: str, text: str) -> None:
    """Write a line into the site's log, unless it is what was said of the topic last."""
    path, said = folder / "cache" / "gate.json", {}
    with suppress(OSError, ValueError):
        said = json.loads(path.read_text(encoding="utf-8"))
    if said.get(topic, "") == text:
        return
    write_json(path, {**said, topic: text})
    if text:
        append_line(folder / "log.jsonl", {"process": PROCESS, "topic": topic, "text": text})


def notes(folder: Path) -> list[str]:
    """Every line so far."""
    lines = read_lines(folder / "log.jsonl")
    return [line["text"] for line in lines if line.get("process") == PROCESS]


def refusals_text(root: Path, refusals: Sequence[Refusal]) -> str:
    """Which files are left out since they cannot be read or are refused, and why."""
    if not refusals:
        return ""
    files = [f"{one.path.relative_to(root)}: {one.reason}" for one in refusals]
    told = list(dict.fromkeys(files))  # a file may hold many images
    return f"images that are refused: {len(refusals)} ({'; '.join(told[:NAMED])}{_more(told)})"


def duplicates_text(manifest: Manifest, found: Duplicates, size: int, unit: str) -> str:
    """Which images are equal at the size that is trained on."""
    kinds = (
        (found.conflicts, "whose labels contradict each other"),
        (found.across, f"of several {unit}s"),
        (found.parts, "in several parts"),
        (found.within, f"of one {unit}, which count once"),
    )
    parts = [
        f"{len(groups)} {what} ({_names(manifest, groups)})" for groups, what in kinds if groups
    ]
    if not parts:
        return ""
    return f"pixel-identical images at {size} × {size}, in groups: {', '.join(parts)}"


def _names(manifest: Manifest, groups: Sequence[Group]) -> str:
    shown = (" = ".join(manifest.files[row] for row in group[:NAMED]) for group in groups[:NAMED])
    return f"{'; '.join(shown)}{_more(groups)}"


def _more(found: Sequence[object]) -> str:
    return f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
