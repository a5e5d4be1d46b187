"""RLE (PS3.5 annex G): each byte of each sample is a segment of its own, packed as PackBits."""

from __future__ import annotations

from struct import unpack_from

import imagecodecs
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 64
SLACK = 1.1
"""A segment may unpack to this much more than the image has, since writers pad; not to more."""


def decode_rle(source: bytes, pixels: int, samples: int, bytes_each: int) -> NDArray[np.uint8]:
    """Unpack one frame.

    Args:
        source: header and segments.
        pixels: rows × columns.
        samples: of a pixel.
        bytes_each: of a sample.

    Returns:
        uint8 (samples, pixels, bytes_each), each sample little endian.

    Raises:
        ValueError: where the segments are not those of such a frame.
    """
    count = unpack_from("<L", source)[0]
    if count != samples * bytes_each or count > 15:
        raise ValueError("another number of segments")
    offsets = [*unpack_from(f"<{count}L", source, 4), len(source)]
    room = bytearray(int(SLACK * pixels) + 16)
    planes = np.empty((samples, pixels, bytes_each), dtype=np.uint8)
    for number in range(count):
        start, end = offsets[number : number + 2]
        if not HEADER_BYTES <= start < end <= len(source):
            raise ValueError("segments out of order")
        unpacked = imagecodecs.packbits_decode(source[start:end], out=room)
        if len(unpacked) < pixels:
            raise ValueError("a segment is too short")
        sample, byte = divmod(number, bytes_each)
        high_first = np.frombuffer(unpacked, dtype=np.uint8, count=pixels)
        planes[sample, :, bytes_each - 1 - byte] = high_first
    return planes
