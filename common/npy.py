"""The header of an array in NumPy's format (NEP 1), read before anything is allocated for it."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np


def read_npy_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a header, whose writer nobody vouches for, and leave the stream behind it.

    Args:
        stream: at the start of the array.
        size: bytes of header and array together.

    Returns:
        Shape, whether values stand column by column, and type.

    Raises:
        ValueError: where it is no such header, declares another size, or objects, which would
            have to be unpickled.
    """
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError("the array is of an unknown version of NumPy's format")
    shape, by_columns, dtype = readers[version](stream)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("the array holds no numbers, or a negative number of them")
    if math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError("the header declares another size than the bytes have")
    return shape, by_columns, dtype
