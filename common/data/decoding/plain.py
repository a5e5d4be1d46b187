"""PNG, JPEG, BMP and TIFF, through Pillow and within the same limits."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from common.data.decoding.grey import scale_to_unit
from common.data.decoding.intensity import limits_of, stored_levels
from common.data.decoding.limits import Limits
from common.data.dicom import Rendering
from common.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""What Pillow may try: some of its other formats start programs or are rarely looked after."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


def plain_kind(data: bytes) -> str:
    """Which of the four formats a file begins as; empty where none, or a DICOM file all the same.

    A DICOM preamble may hold a TIFF header (PS3.10 7.1).
    """
    if data[128:132] == b"DICM":
        return ""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def is_plain(data: bytes) -> bool:
    """Whether a file is of one of the four formats."""
    return bool(plain_kind(data))


def count_pages(image: Image.Image, limits: Limits) -> int:
    """Pages of a TIFF; 1 of the other formats, whatever else they can hold."""
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > limits.frames:
        raise DataError(f"it has more than {limits.frames} pages")
    return pages


def iter_plain(
    data: bytes, size: int, rendering: Rendering, limits: Limits
) -> Iterator[Image.Image]:
    """The images of a file: one, or the pages of a TIFF.

    Args:
        data: the file's bytes.
        size: a JPEG much larger than this is decoded at a fraction of its size.
        rendering: whether all pages are wanted or the first, and what becomes black and white.
        limits: caps on pixels.

    Yields:
        8-bit images. 16 bits are brought to 8 by their full scale of 65535, unless the rendering
        has another rule.

    Raises:
        DataError: with the reason.
    """
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        pages = count_pages(image, limits)
        for page in range(pages if rendering.frames == "all" else 1):
            if pages > 1:
                image.seek(page)
            if image.width * image.height > limits.frame_pixels:
                raise DataError(f"it has more than {limits.frame_pixels} pixels")
            image.draft(image.mode, (size * 2, size * 2))
            image.load()
            yield _eight_bits(image, rendering)
    except DataError:
        raise
    except MemoryError:
        raise DataError("decoding it takes more memory than a file may") from None
    except Exception:  # Pillow's plugins raise many kinds, with values of the file in their words
        raise DataError("it is damaged or truncated, or of a kind that is not read") from None


def _eight_bits(image: Image.Image, rendering: Rendering) -> Image.Image:
    """Modes I (16 or 32 bits) and F would be clipped by convert(), in silence."""
    if image.mode == "F":
        raise DataError("its pixels are floats, which have no full scale")
    display = rendering.intensity in ("auto", "display")
    if not image.mode.startswith("I") and (display or image.mode != "L"):
        return image
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise DataError("its pixels have more than 16 bits")
    pixels = pixels.astype(np.uint16)
    if display:
        return Image.fromarray((pixels // 257).astype(np.uint8))
    low, high = limits_of(*stored_levels(pixels), rendering.intensity, rendering.bounds)
    levels = scale_to_unit(np.arange(65536, dtype=np.float64), low, high)
    return Image.fromarray(np.rint(levels * 255).astype(np.uint8)[pixels])
