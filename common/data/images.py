"""One image file to a uint8 array of the task's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from common.data.dicom import read_dicom
from common.errors import DataError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ""})


def read_image(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Read, convert and resize one image.

    Args:
        path: a DICOM file (``.dcm``, ``.dicom`` or no suffix), or anything Pillow reads.
        size: height and width of the result, in pixels.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (channels, size, size).

    Raises:
        DataError: naming the file that cannot be read.
    """
    image = _open(path, size)
    image = image.convert("L" if channels == 1 else "RGB")
    image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.moveaxis(pixels, -1, 0)


def _open(path: Path, size: int) -> Image.Image:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return Image.fromarray(np.rint(read_dicom(path) * 255).astype(np.uint8))
    try:
        image = Image.open(path)
        image.draft(image.mode, (size * 2, size * 2))  # JPEG: decode at a fraction of its size
        image.load()
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable image: {error}") from error
    if image.mode.startswith("I"):  # 16 bit: full scale is 65535, which convert() would clip
        return Image.fromarray((np.asarray(image, dtype=np.uint32) // 257).astype(np.uint8))
    return image
