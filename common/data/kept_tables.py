"""Tables that are read once in a process, for as long as they do not change.

Every message begins with its site's manifest, and the sites of a simulation share a process, often
a pool's one table as well. What is kept is what would be read: its key is the settings, and the
path, size and times of each table. A deployed site has a new process for each message, and keeps
nothing. What lists folders or counts frames does so anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.config import SourceSettings, TaskSettings
from common.data.layouts import check_files, read_manifest
from common.data.manifest import Manifest
from common.data.partition import rows_by_site
from common.data.pool import PoolSettings
from common.data.records import root_of
from common.data.table import table_paths

KEPT = 16
"""Tables, the latest used."""


def manifest_of_site(
    source: SourceSettings,
    pool: PoolSettings | None,
    site: str,
    task: TaskSettings,
    classes: tuple[str, ...],
) -> Manifest:
    """A site's images: all of its source's, or its share of a pool.

    Args:
        source: the site's own paths and column names.
        pool: how a simulation divides what ``source`` describes; ``None`` where it does not.
        site: the site's name.
        task: the shared task.
        classes: the ordered public classes.

    Returns:
        A manifest that is for reading alone: its labels may be the ones that are kept.

    Raises:
        DataError: as :func:`common.data.layouts.read_manifest`.
    """
    asked = _Asked(source, pool, task, classes, _stamp(source))
    whole, rows = _read(asked) if asked.stamp is None else _kept(asked)
    manifest = whole if rows is None else whole.take(rows[site])
    if asked.stamp is not None:
        check_files(source, manifest.files)  # each time: one may have gone since
    return manifest


@dataclass(frozen=True)
class _Asked:
    """What follows from these is kept; settings hold mappings, so their text is compared."""

    source: SourceSettings = field(compare=False)
    pool: PoolSettings | None = field(compare=False)
    task: TaskSettings = field(compare=False)
    classes: tuple[str, ...]
    stamp: str | None
    settings: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", repr((self.source, self.pool, self.task)))


Rows = Mapping[str, NDArray[np.int64]]


def _read(asked: _Asked) -> tuple[Manifest, Rows | None]:
    """The whole of a source, and each site's rows where it is a pool."""
    look = asked.stamp is None
    whole = read_manifest(asked.source, asked.task, asked.classes, look=look)
    whole.labels.flags.writeable = False
    if asked.pool is None:
        return whole, None
    return whole, rows_by_site(whole, asked.pool, asked.source.split_key)


_kept = lru_cache(maxsize=KEPT)(_read)


def _stamp(source: SourceSettings) -> str | None:
    """What changes with the tables; ``None`` where a manifest follows from more than them."""
    if source.layout != "table" or source.frames == "all":
        return None
    root = root_of(source)
    paths = [*table_paths(source), *(root / name for name in source.join_tables)]
    facts = [(str(path), path.stat()) for path in paths if path.exists()]
    return repr([(p, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in facts])
