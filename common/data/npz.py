"""Arrays in an ``.npz`` file, read as a stream: nothing is unpickled, nothing is trusted.

An ``.npz`` is a zip of ``.npy`` members (NumPy's own format, NEP 1). A member's header is checked
against the size that the zip declares and against the decoder's limits, and its images are given
one at a time, so that a file of many GB costs the memory of one image.

An image in such a file is named ``FILE.npz#MEMBER-NUMBER`` (``common/data/places.py``).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from common.data.decoding.limits import LIMITS
from common.errors import DataError
from common.npy import read_npy_header

MOST_IMAGES = 10_000_000
MOST_LABEL_BYTES = 2**28


def read_integers(path: Path, member: str) -> NDArray[np.int64]:
    """A member of one or two dimensions of integers, such as labels.

    Returns:
        int64 (n, k); k is 1 for one dimension.

    Raises:
        DataError: naming the file and what is wrong with the member.
    """
    with _open(path, member) as (stream, shape, dtype):
        size = int(np.prod(shape)) * dtype.itemsize
        if dtype.kind not in "iu" or len(shape) not in (1, 2) or size > MOST_LABEL_BYTES:
            raise DataError("it is no small array of integers of one or two dimensions")
        values = np.frombuffer(_exactly(stream, size), dtype=dtype).astype(np.int64)
    return values.reshape(shape[0], -1) if len(values) else values.reshape(0, 1)


def iter_images(path: Path, member: str) -> Iterator[NDArray[np.uint8]]:
    """A member's images, in order, one in memory at a time.

    Yields:
        uint8 (H, W), or (H, W, 3).

    Raises:
        DataError: naming the file and what is wrong with the member.
    """
    with _open(path, member) as (stream, shape, dtype):
        colours = len(shape) == 4 and shape[3] == 3
        if dtype != np.uint8 or not (len(shape) == 3 or colours):
            raise DataError("expected uint8 of (images, height, width) or (…, 3)")
        if shape[0] > MOST_IMAGES or shape[1] * shape[2] > LIMITS.frame_pixels:
            raise DataError("it declares more images or pixels than a file may have")
        size = int(np.prod(shape[1:]))
        for _ in range(shape[0]):
            yield np.frombuffer(_exactly(stream, size), dtype=np.uint8).reshape(shape[1:])


@contextmanager
def _open(path: Path, member: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
    """A member's stream behind its header, its shape and its type; every error names the file."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as stream:
            size = archive.getinfo(f"{member}.npy").file_size
            shape, by_columns, dtype = read_npy_header(stream, size)
            if by_columns:
                raise DataError("its values stand column by column, which is not read")
            yield stream, shape, dtype
    except DataError as error:
        raise DataError(f"{path}: {member}: {error}") from None
    except KeyError:
        raise DataError(f"{path}: expected an array '{member}', and it holds none") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise DataError(f"{path}: {member}: expected an .npz file, but it is damaged") from error


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data
