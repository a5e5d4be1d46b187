"""A file's bytes to what a model sees: uint8 of the task's size. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.data.decoding.choices import Resize
from common.data.decoding.limits import Limits
from common.data.decoding.plain import is_plain, iter_plain
from common.data.dicom import RENDERING, Rendering, iter_images


@dataclass(frozen=True)
class Wanted:
    """What is made of a file."""

    size: int
    """Height and width of the result, in pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    rendering: Rendering = RENDERING


def decode(data: bytes, wanted: Wanted, limits: Limits) -> NDArray[np.uint8]:
    """Decode, convert and resize every image that is wanted of a file.

    Args:
        data: the bytes of a DICOM, PNG, JPEG, BMP or TIFF file, told by its content.
        wanted: size, channels, and which frames or pages.
        limits: caps on sizes.

    Returns:
        uint8 (n, channels, size, size); n is 1 unless all frames are wanted.

    Raises:
        DataError: with the reason.
    """
    images = iter_images_of(data, wanted.size, wanted.rendering, limits)
    return np.stack([fit(image, wanted) for image in images])


def fit(image: Image.Image, wanted: Wanted) -> NDArray[np.uint8]:
    """One image to uint8 (channels, size, size)."""
    image = image.convert("L" if wanted.channels == 1 else "RGB")
    image = _square(image, wanted.size, wanted.rendering.resize)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if wanted.channels == 1 else np.moveaxis(pixels, -1, 0)


def _square(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Bring an image to ``size`` × ``size``; what does not fit its aspect is cut or left black."""
    width, height = image.size
    box, target = None, (size, size)
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    elif resize == "pad":
        longer = max(width, height)
        target = max(1, round(size * width / longer)), max(1, round(size * height / longer))
    image = image.resize(target, Image.Resampling.BILINEAR, box, reducing_gap=3.0)
    if target == (size, size):
        return image
    square = Image.new(image.mode, (size, size))
    square.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
    return square


def to_levels(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[0, 1] to 0–255, rounded."""
    return np.rint(unit * 255).astype(np.uint8)


def iter_images_of(
    data: bytes, size: int, rendering: Rendering, limits: Limits
) -> Iterator[Image.Image]:
    """The 8-bit images of a file of any kind, which its content tells.

    Arguments and errors are those of :func:`iter_plain` and of :func:`iter_images`.
    """
    if is_plain(data):
        return iter_plain(data, size, rendering, limits)
    images = iter_images(data, rendering, limits, to_levels)
    return (Image.fromarray(image) for image in images)
