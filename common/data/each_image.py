"""Asking for many images, wherever each is: a file of its own, a frame of one, or in an ``.npz``.

Each file is read once for all of its images that are wanted: by the worker processes, or in this
process where it is an ``.npz``, which needs no decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.data.decoding.pool import Pool, shared_pool
from common.data.decoding.process import Refusal, Reply
from common.data.npz import iter_images
from common.data.places import place_of
from common.errors import DataError

T = TypeVar("T")

ABSENT = "the file does not hold it"
SEVERAL = "it holds several images where one was asked for"


def for_each_image(
    paths: Sequence[Path],
    request: Mapping[str, Any],
    read: Callable[[Path, Reply | Refusal, int | None], T | Refusal],
    make: Callable[[NDArray[np.uint8]], T],
    take: Callable[[int, T | Refusal], None],
    pool: Pool | None = None,
) -> None:
    """Ask for n images.

    Args:
        paths: n files, or places of images within files (``common/data/places.py``).
        request: what the workers are asked of each file.
        read: makes what is wanted of a file's reply and a frame's number, from 0; ``None`` where
            the image has the file to itself.
        make: makes it of an image in an ``.npz``, uint8 (H, W) or (H, W, 3).
        take: gets each image's index with that, or with why there is none, in the order that they
            are ready, one at a time.
        pool: which workers; by default this process's.
    """
    files: dict[Path, list[tuple[int | None, int]]] = {}
    arrays: dict[tuple[Path, str], dict[int, int]] = {}
    for index, path in enumerate(paths):
        place = place_of(path)
        if place is None:
            files.setdefault(path, []).append((None, index))
        elif place.in_npz:
            arrays.setdefault((place.file, place.member), {})[place.number] = index
        else:
            files.setdefault(place.file, []).append((place.number, index))
    names = list(files)

    def give(position: int, reply: Reply | Refusal) -> None:
        path = names[position]
        for number, index in files[path]:
            take(index, read(path, reply, number))

    (pool or shared_pool()).ask_all(names, request, give)
    for (path, member), wanted in arrays.items():
        _read_array(path, member, wanted, make, take)


def one_of(path: Path, images: Sequence[T], number: int | None) -> T | Refusal:
    """One of what was read of a file's images; the only one where no number is given."""
    if number is None:
        return images[0] if len(images) == 1 else Refusal(path, SEVERAL)
    return images[number] if number < len(images) else Refusal(path, ABSENT)


def _read_array(
    path: Path,
    member: str,
    wanted: Mapping[int, int],
    make: Callable[[NDArray[np.uint8]], T],
    take: Callable[[int, T | Refusal], None],
) -> None:
    """Read an array once from its start; ``wanted`` has the index of each number."""
    left, reason = dict(wanted), ABSENT
    try:
        for number, pixels in enumerate(iter_images(path, member)):
            if number in left:
                take(left.pop(number), make(pixels))
    except DataError as error:
        reason = str(error)
    for index in left.values():
        take(index, Refusal(path, reason))
