"""One image file to a uint8 array of the task's size, read by a worker process within limits.

What is a DICOM, PNG, JPEG, BMP or TIFF file is told by its content, not by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.config import SourceSettings
from common.data.decoding.decode import Wanted, fit
from common.data.decoding.pool import Pool, shared_pool
from common.data.decoding.process import Refusal, Reply
from common.data.dicom import Rendering
from common.data.npz import iter_images, parse_reference
from common.errors import DataError

T = TypeVar("T")

STRETCHED = Rendering(intensity="auto")
"""How a site's files are read unless it says otherwise: the middle frame, the first window, and
grey levels of DICOM scaled to each image's own extremes, since exposure differs from site to site
and many files have no window at all."""


def rendering_of(source: SourceSettings) -> Rendering:
    """How the files of a site are read, by its settings."""
    return Rendering(source.frames, source.view, source.intensity, source.intensity_bounds)


def read_image(
    path: Path, size: int, channels: int, rendering: Rendering = STRETCHED
) -> NDArray[np.uint8]:
    """Read, convert and resize one image.

    Args:
        path: a DICOM, PNG, JPEG, BMP or TIFF file.
        size: height and width of the result, in pixels.
        channels: 1 for grey, 3 for RGB.
        rendering: which frame and window of a DICOM file; one frame, not all.

    Returns:
        uint8 (channels, size, size).

    Raises:
        DataError: naming the file that cannot be read, and why.
    """
    image = try_read(path, size, channels, rendering)
    if isinstance(image, Refusal):
        raise refused(image)
    return image


def try_read(
    path: Path,
    size: int,
    channels: int,
    rendering: Rendering = STRETCHED,
    pool: Pool | None = None,
) -> NDArray[np.uint8] | Refusal:
    """As :func:`read_image`, but a file that cannot be read is an answer and no error."""
    images: list[NDArray[np.uint8] | Refusal] = []
    read_many([path], size, channels, lambda _, image: images.append(image), rendering, pool)
    return images[0]


def read_images(path: Path, size: int, channels: int, rendering: Rendering) -> NDArray[np.uint8]:
    """Every image that the rendering asks of a file, all of one patient.

    Returns:
        uint8 (n, channels, size, size); n is the number of frames where all are asked for.

    Raises:
        DataError: naming the file that cannot be read, and why.
    """
    reply = shared_pool().ask(path, _request(size, channels, rendering))
    images = to_images(path, reply, size, channels)
    if isinstance(images, Refusal):
        raise refused(images)
    return images


def try_header(
    path: Path, keywords: Sequence[str], pool: Pool | None = None
) -> dict[str, str] | Refusal:
    """Values of a DICOM file's header by keyword, as text: a patient's data, for the site alone.

    Several values of an element are joined by a backslash; an element that is absent is left out.
    A file that is no DICOM file has an empty answer.
    """
    return _facts(path, (pool or shared_pool()).ask(path, {"keywords": list(keywords)}))


def _facts(path: Path, reply: Reply | Refusal) -> dict[str, str] | Refusal:
    if isinstance(reply, Refusal):
        return reply
    facts = reply.line.get("header")
    if not isinstance(facts, dict):
        return Refusal(path, "its decoder gave no proper answer")
    return {str(keyword): str(value) for keyword, value in facts.items()}


def try_headers(paths: Sequence[Path], keywords: Sequence[str]) -> list[dict[str, str] | Refusal]:
    """As :func:`try_header`, for many files with all workers."""
    answers: dict[int, dict[str, str] | Refusal] = {}

    def take(index: int, reply: Reply | Refusal) -> None:
        answers[index] = _facts(paths[index], reply)

    shared_pool().ask_all(paths, {"keywords": list(keywords)}, take)
    return [answers[index] for index in range(len(paths))]


def read_many(
    paths: Sequence[Path],
    size: int,
    channels: int,
    take: Callable[[int, NDArray[np.uint8] | Refusal], None],
    rendering: Rendering = STRETCHED,
    pool: Pool | None = None,
) -> None:
    """Read many files with all workers.

    Args:
        paths: n files, or images within ``.npz`` files; those are read in this process.
        size: as for :func:`read_image`.
        channels: as for :func:`read_image`.
        take: gets each file's index and its image or refusal, in the order that they are ready,
            one at a time.
        rendering: as for :func:`read_image`.
        pool: which workers; by default this process's.
    """

    arrays, files = split_arrays(paths)

    def convert(index: int, reply: Reply | Refusal) -> None:
        take(files[index], to_image(paths[files[index]], reply, size, channels))

    request = image_request(size, channels, rendering)
    (pool or shared_pool()).ask_all([paths[i] for i in files], request, convert)
    wanted = Wanted(size, channels, rendering)
    read_arrays(arrays, lambda pixels: fit(Image.fromarray(pixels), wanted), take)


def split_arrays(paths: Sequence[Path]) -> tuple[dict[int, tuple[Path, str, int]], list[int]]:
    """The places of images within ``.npz`` files by index, and the indices of the other paths."""
    arrays = {i: place for i, path in enumerate(paths) if (place := parse_reference(path))}
    return arrays, [i for i in range(len(paths)) if i not in arrays]


def read_arrays(
    places: Mapping[int, tuple[Path, str, int]],
    make: Callable[[NDArray[np.uint8]], T],
    take: Callable[[int, T | Refusal], None],
) -> None:
    """Read images within ``.npz`` files, each member once from its start.

    Args:
        places: file, member and number by index.
        make: what is made of uint8 (H, W) or (H, W, 3).
        take: gets each index with what was made, or with why it cannot be read.
    """
    members: dict[tuple[Path, str], dict[int, int]] = {}
    for index, (path, member, number) in places.items():
        members.setdefault((path, member), {})[number] = index
    for (path, member), left in members.items():
        reason = "the file does not hold it"
        try:
            for number, pixels in enumerate(iter_images(path, member)):
                if number in left:
                    take(left.pop(number), make(pixels))
        except DataError as error:
            reason = str(error)
        for index in left.values():
            take(index, Refusal(path, reason))


def refused(refusal: Refusal) -> DataError:
    """The error for one file."""
    return DataError(f"{refusal.path}: expected a readable image, but {refusal.reason}")


def image_request(size: int, channels: int, rendering: Rendering) -> dict[str, Any]:
    """What a worker is asked for one image a file."""
    if rendering.frames == "all":
        raise ValueError("one image a file was asked for, and all frames; use read_images")
    return _request(size, channels, rendering)


def to_image(
    path: Path, reply: Reply | Refusal, size: int, channels: int
) -> NDArray[np.uint8] | Refusal:
    """The one image of a reply, checked to be what was asked for."""
    images = to_images(path, reply, size, channels)
    return images if isinstance(images, Refusal) else images[0]


def to_images(
    path: Path, reply: Reply | Refusal, size: int, channels: int
) -> NDArray[np.uint8] | Refusal:
    """The images of a reply, checked to be what was asked for."""
    if isinstance(reply, Refusal):
        return reply
    shape = _shape(reply.line)
    if shape[1:] != (channels, size, size) or len(reply.payload) != np.prod(shape):
        return Refusal(path, "its decoder gave no proper answer")
    return np.frombuffer(reply.payload, dtype=np.uint8).reshape(shape)


def _shape(line: Mapping[str, Any]) -> tuple[int, ...]:
    shape = line.get("shape")
    return tuple(shape) if isinstance(shape, list) else ()


def _request(size: int, channels: int, rendering: Rendering) -> dict[str, Any]:
    return {"size": size, "channels": channels, "rendering": asdict(rendering)}
