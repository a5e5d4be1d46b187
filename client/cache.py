"""Images decoded once: a memory-mapped array in the site's own ``cache/``.

Handlers keep no image in memory between messages, since a deployed Flower client is a new process
for each; so what is slow to make is kept on disk.

Each row of the array has a key: a hash of the file's path, size and times, and of the settings. A
row whose key is not the file's present one is decoded again, and only that row. Path, size and
times rather than the bytes, since every message would otherwise begin by reading every image; both
times, since who puts another image in place can set the time of the content (as ``cp -p`` does)
and not that of the entry. The array holds pixels and hashes: no name, no id.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.config import TaskSettings
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering
from common.data.images import STRETCHED, read_many, refused
from common.data.manifest import Manifest
from common.data.places import file_of
from common.errors import DataError

VERSION = 2
"""Raised whenever the same file and settings come out as other pixels."""
KEY_BYTES = 16
UNREADABLE = bytes(KEY_BYTES)
"""Key of a row without an image: no file has it, so the next call tries it again."""
KEPT = 2
"""Arrays that stay for the same settings: the present one and the one before it."""
STALE_SECONDS = 30 * 24 * 3600.0
"""An array of other settings goes when it is older: a run that still needs it decodes anew."""

Images = NDArray[np.uint8]
Progress = Callable[[int, int], None]


def decoded_images(
    manifest: Manifest,
    task: TaskSettings,
    folder: Path,
    *,
    rendering: Rendering = STRETCHED,
    refusals: dict[int, Refusal] | None = None,
    progress: Progress | None = None,
) -> Images:
    """All images of a manifest, decoded and resized.

    Args:
        manifest: n images.
        task: gives size, channels and how the aspect is treated.
        folder: where the array is kept; made if missing.
        rendering: how the site's files are read.
        refusals: gets the rows that cannot be read, if it is given. Their pixels are zero: the
            caller has to leave them out.
        progress: called with the number of images done and to do, as they are decoded.

    Returns:
        Read-only uint8 (n, channels, size, size), backed by a file.

    Raises:
        DataError: naming the first image that cannot be read, where ``refusals`` is not given
            (what could be read is kept); or a cache that is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rendering = replace(rendering, resize=task.resize)
    keys = row_keys(manifest, task, rendering)
    name = hashlib.sha256(b"".join(keys)).hexdigest()[:20]
    path = folder / f"images-{task.image_size}x{task.channels}-{name}.npy"
    with _alone(folder):
        held = _Array.load(path) if path.exists() else None
        found: dict[int, Refusal] = {}
        if held is None or held.keys != keys:
            found = _bring_up_to_date(manifest, task, rendering, path, keys, progress)
            held = _Array.load(path)
    if found and refusals is None:
        raise _error(found)
    if refusals is not None:
        refusals.update(found)
    return held.images


@dataclass(frozen=True)
class _Array:
    """One file: an ordinary ``.npy`` of the images, and after its end a key for each."""

    images: Images
    keys: list[bytes]

    @staticmethod
    def load(path: Path) -> _Array:
        """Map a file. What is no such array is refused, and nothing is ever unpickled."""
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(images, np.memmap) or images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError
            with path.open("rb") as stream:
                stream.seek(images.offset + images.nbytes)
                tail = stream.read()
            if len(tail) != KEY_BYTES * len(images):
                raise ValueError
        except (ValueError, EOFError) as error:
            raise DataError(f"{path}: the cache is damaged; delete it, it is made anew") from error
        starts = range(0, len(tail), KEY_BYTES)
        return _Array(images, [tail[start : start + KEY_BYTES] for start in starts])


def _bring_up_to_date(
    manifest: Manifest,
    task: TaskSettings,
    rendering: Rendering,
    path: Path,
    keys: Sequence[bytes],
    progress: Progress | None,
) -> dict[int, Refusal]:
    """Make the array: decode the rows that no array of the same settings holds, copy the others.

    Returns:
        The rows that cannot be read.
    """
    held = _held_rows(path)
    left = [row for row, key in enumerate(keys) if key not in held]
    found: dict[int, Refusal] = {}
    written = list(keys)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        images = _create(temporary, (len(keys), task.channels, task.image_size, task.image_size))
        finished = 0

        def take(position: int, image: Images | Refusal) -> None:
            nonlocal finished
            row = left[position]
            if isinstance(image, Refusal):
                found[row], written[row] = image, UNREADABLE
            else:
                images[row] = image
            finished += 1
            if progress is not None:
                progress(finished, len(left))

        files = [manifest.root / manifest.files[row] for row in left]
        read_many(files, task.image_size, task.channels, take, rendering)
        if len(found) < len(left) or not path.exists():  # else there is nothing new to keep
            for row, key in enumerate(keys):
                if key in held:
                    source, index = held[key]
                    images[row] = source[index]
            images.flush()
            _finish(temporary, written)
            temporary.replace(path)
            _prune(path)
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _create(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    """A new array, whose room on the disk is taken first: a full disk is an error and no signal."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images


def _finish(path: Path, keys: Sequence[bytes]) -> None:
    """Write the keys and have all of it on the disk, before it gets its name."""
    with path.open("ab") as stream:
        stream.write(b"".join(keys))
        stream.flush()
        os.fsync(stream.fileno())


def _held_rows(path: Path) -> Mapping[bytes, tuple[Images, int]]:
    """Where each key's image is, in the arrays of the same settings."""
    held: dict[bytes, tuple[Images, int]] = {}
    for older in reversed(_arrays(path)):
        with suppress(DataError):
            array = _Array.load(older)
            held.update((key, (array.images, i)) for i, key in enumerate(array.keys))
    held.pop(UNREADABLE, None)
    return held


def _arrays(path: Path) -> list[Path]:
    """Every array of the same settings, newest first."""
    settings, _, _ = path.name.rpartition("-")
    found = path.parent.glob(f"{settings}-*.npy")
    return sorted(found, key=lambda array: array.stat().st_mtime_ns, reverse=True)


def _prune(path: Path) -> None:
    """Remove arrays that newer ones have replaced; whoever has one mapped keeps it."""
    same = _arrays(path)
    oldest = time.time() - STALE_SECONDS
    others = set(path.parent.glob("images-*.npy")) - set(same)
    for old in [*same[KEPT:], *(o for o in others if o.stat().st_mtime < oldest)]:
        old.unlink(missing_ok=True)


def row_keys(manifest: Manifest, task: TaskSettings, rendering: Rendering) -> list[bytes]:
    """One key a row: changes whenever the file or a setting does."""
    settings = f"{VERSION} {manifest.root.resolve()} {task.image_size} {task.channels} {rendering}"
    start = hashlib.blake2b(os.fsencode(settings), digest_size=KEY_BYTES)
    keys, root = [], str(manifest.root)
    for file in manifest.files:  # a Path for each of many files would take long, in every message
        digest = start.copy()
        digest.update(os.fsencode(file))
        with suppress(OSError):  # a file that is gone is refused when it is read
            path = file_of(Path(root, file)) if "#" in file else f"{root}/{file}"
            facts = os.stat(path)  # noqa: PTH116
            times = f"{facts.st_mtime_ns} {facts.st_ctime_ns}"
            digest.update(f"\n{facts.st_size} {times}".encode())
        keys.append(digest.digest())
    return keys


def _error(found: Mapping[int, Refusal]) -> DataError:
    first = refused(found[min(found)])
    if len(found) == 1:
        return first
    return DataError(f"{first} (and {len(found) - 1} more cannot be read)")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process decodes at a time, and the next finds its work done.

    Where the file system has no locks both decode, and the last to finish renames its array over
    the other's, which is equal.
    """
    with (folder / "images.lock").open("ab") as stream:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
