"""Every frame of a file as an image (``data.frames=all``), all of one patient.

How many there are is asked of the decoder's worker processes when a site's images are listed, as
headers are: a file whose frames cannot be counted cannot be read either, and is refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from common.config import SourceSettings
from common.data.decoding.pool import shared_pool
from common.data.decoding.process import Refusal, Reply
from common.data.places import FRAME, name_of
from common.data.records import Record, root_of

_known: dict[tuple[object, ...], int] = {}
"""What this process has counted, by path, size and time."""


def with_every_frame(records: Sequence[Record], source: SourceSettings) -> list[Record]:
    """Each record as often as its file has frames, where ``data.frames`` is ``all``.

    Labels, patient and site are the file's. Where nothing tells patients apart the unit is the
    file and never a frame: frames of one loop would stand on both sides of the split, and be
    protected one by one. ``data.exclude`` may name a file or a single frame.
    """
    if source.frames != "all" or source.layout == "medmnist":
        return list(records)
    root, excluded = root_of(source), set(source.exclude)
    counts = count_frames([root / record.file for record in records])
    every = []
    for record, count in zip(records, counts, strict=True):
        if count == 1:
            every.append(record)
            continue
        names = (name_of(record.file, FRAME, number) for number in range(count))
        every += [replace(record, file=name) for name in names if name not in excluded]
    return every


def count_frames(paths: Sequence[Path]) -> list[int]:
    """How many frames each file has; 1 where they cannot be counted."""
    keys = [_key(path) for path in paths]
    left = [i for i, key in enumerate(keys) if key not in _known]

    def take(index: int, reply: Reply | Refusal) -> None:
        count = 1 if isinstance(reply, Refusal) else reply.line.get("frames")
        _known[keys[left[index]]] = count if isinstance(count, int) and count > 0 else 1

    shared_pool().ask_all([paths[i] for i in left], {"frames": True}, take)
    return [_known[key] for key in keys]


def _key(path: Path) -> tuple[object, ...]:
    with suppress(OSError):
        facts = path.stat()
        return os.fspath(path), facts.st_size, facts.st_mtime_ns
    return (os.fspath(path),)
