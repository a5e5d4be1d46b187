"""One image file to a uint8 array of the task's size, read by a worker process within limits.

What is a DICOM, PNG, JPEG, BMP or TIFF file is told by its content, not by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.config import SourceSettings
from common.data.decoding.decode import Wanted, fit
from common.data.decoding.pool import Pool, shared_pool
from common.data.decoding.process import Refusal, Reply
from common.data.dicom import Rendering
from common.data.each_image import for_each_image, one_of
from common.errors import DataError

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


def try_headers(
    paths: Sequence[Path], keywords: Sequence[str], pool: Pool | None = None
) -> list[dict[str, str] | Refusal]:
    """Values of DICOM headers by keyword, as text: patients' data, for the site alone.

    Several values of an element are joined by a backslash; an element that is absent is left out.
    A file that is no DICOM file has an empty answer.
    """
    answers: dict[int, dict[str, str] | Refusal] = {}

    def take(index: int, reply: Reply | Refusal) -> None:
        answers[index] = _facts(paths[index], reply)

    (pool or shared_pool()).ask_all(paths, {"keywords": list(keywords)}, take)
    return [answers[index] for index in range(len(paths))]


def _facts(path: Path, reply: Reply | Refusal) -> dict[str, str] | Refusal:
    if isinstance(reply, Refusal):
        return reply
    facts = reply.line.get("header")
    if not isinstance(facts, dict):
        return Refusal(path, "its decoder gave no proper answer")
    return {str(keyword): str(value) for keyword, value in facts.items()}


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
        paths: n files, or places of images within files (``common/data/places.py``).
        size: as for :func:`read_image`.
        channels: as for :func:`read_image`.
        take: gets each file's index and its image or refusal, in the order that they are ready,
            one at a time.
        rendering: as for :func:`read_image`.
        pool: which workers; by default this process's.
    """
    request = {"size": size, "channels": channels, "rendering": asdict(rendering)}
    wanted = Wanted(size, channels, rendering)

    def read(path: Path, reply: Reply | Refusal, number: int | None) -> NDArray[np.uint8] | Refusal:
        images = to_images(path, reply, size, channels)
        return images if isinstance(images, Refusal) else one_of(path, list(images), number)

    def make(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return fit(Image.fromarray(pixels), wanted)

    for_each_image(paths, request, read, make, take, pool)


def refused(refusal: Refusal) -> DataError:
    """The error for one file."""
    return DataError(f"{refusal.path}: expected a readable image, but {refusal.reason}")


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
