"""Images decoded once: a memory-mapped array in the site's own ``cache/``.

Handlers keep nothing in memory between messages, since a deployed Flower client is a new process
for each; so what is slow to make is kept on disk, under a name that follows the files and the
settings. The array holds pixels only.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.config import TaskSettings
from common.data.images import read_image
from common.data.manifest import Manifest
from common.errors import DataError


def decoded_images(manifest: Manifest, task: TaskSettings, folder: Path) -> NDArray[np.uint8]:
    """All images of a manifest, decoded and resized.

    Args:
        manifest: n images.
        task: gives size and channels.
        folder: where the array is kept; made if missing.

    Returns:
        Read-only uint8 (n, channels, size, size), backed by a file.

    Raises:
        DataError: naming the first image that cannot be read (nothing is kept then), or a cache
            that is damaged.
    """
    path = folder / f"images-{_key(manifest, task)}.npy"
    if not path.exists():
        _decode(manifest, task, path)
    try:
        images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: the cache is damaged; delete it, it is made anew") from error
    return images


def _decode(manifest: Manifest, task: TaskSettings, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(manifest), task.channels, task.image_size, task.image_size)
    images = np.empty(shape, dtype=np.uint8)
    for row, file in enumerate(manifest.files):
        images[row] = read_image(manifest.root / file, task.image_size, task.channels)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        np.save(temporary, images, allow_pickle=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _key(manifest: Manifest, task: TaskSettings) -> str:
    """Changes whenever a file (by name, size or time) or a setting does."""
    digest = hashlib.sha256(f"{manifest.root.resolve()} {task.image_size} {task.channels}".encode())
    for file in manifest.files:
        facts = (manifest.root / file).stat()
        digest.update(f"\n{file} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]
