"""Sound files that the malformed ones are made from, and the tools to damage them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_file_meta_info

Expected = Literal["refused", "read", "either"]
"""``read`` is for files that look bad and are in fact sound; ``either`` for those that chance
makes, where all that counts is that nothing crashes, hangs or leaks."""

CANARY = "CANARY7f3a91"
"""Stands in every file as a patient's name, id and more; must come out of none."""

COMPRESSED = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1)
EXPLICIT, IMPLICIT = uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian


@dataclass(frozen=True)
class Case:
    """One malformed file."""

    name: str
    kind: str
    data: bytes
    expected: Expected


Cases = Iterator[Case]


def pixels(rows: int = 16, columns: int = 16) -> NDArray[np.uint16]:
    """A 12-bit ramp."""
    return np.linspace(0, 4095, rows * columns).astype(np.uint16).reshape(rows, columns)


def dataset(syntax: uid.UID = EXPLICIT, image: NDArray[Any] | None = None) -> FileDataset:
    """A sound grey 12-bit radiograph with canaries."""
    image = pixels() if image is None else image
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = syntax
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = uid.ComputedRadiographyImageStorage, "1.2.3.4"
    made.PatientName, made.PatientID = f"{CANARY}^Ann", CANARY
    made.InstitutionName, made.StudyDescription = CANARY, f"study of {CANARY}"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = image.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = 2048, 4096
    if syntax.is_encapsulated:
        made.PixelData = encapsulate([frame(syntax, image)])
        made["PixelData"].VR = "OB"
    else:
        made.PixelData = image.tobytes()
    return made


def frame(syntax: uid.UID, image: NDArray[Any]) -> bytes:
    """One compressed frame."""
    if syntax == uid.RLELossless:
        high, low = (image >> 8).astype(np.uint8), (image & 0xFF).astype(np.uint8)
        return rle_frame([pack_bits(high.tobytes()), pack_bits(low.tobytes())])
    if syntax == uid.JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(image))
    if syntax == uid.JPEG2000Lossless:
        return bytes(imagecodecs.jpeg2k_encode(image, level=0, codecformat="J2K"))
    if syntax == uid.JPEGLosslessSV1:
        return bytes(imagecodecs.jpeg8_encode(image, bitspersample=12, lossless=True))
    raise ValueError(syntax)


def pack_bits(data: bytes) -> bytes:
    """RLE of PS3.5 annex G, with literal runs only."""
    runs = (data[start : start + 128] for start in range(0, len(data), 128))
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    return packed + b"\0" * (len(packed) % 2)


def rle_frame(segments: list[bytes]) -> bytes:
    """An RLE header and its segments (PS3.5 G.5)."""
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    header = struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def written(made: Dataset, preamble: bytes | None = None) -> bytes:
    """The bytes of a file, whatever is wrong with its values."""
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    data = stream.getvalue()
    return data if preamble is None else preamble.ljust(128, b"\0")[:128] + data[128:]


def changed(syntax: uid.UID = EXPLICIT, **values: object) -> bytes:
    """A sound file with some values set, or removed where they are ``None``."""
    made = dataset(syntax)
    for keyword, value in values.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return written(made)


def element(group: int, number: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One data element in explicit VR little endian, with any length one likes."""
    size = len(value) if length is None else length
    if vr in ("OB", "OW", "SQ", "UN", "UT"):
        return struct.pack("<HH2sHL", group, number, vr.encode(), 0, size) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), size) + value


def patched(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """A copy with bytes changed in place."""
    copy = bytearray(data)
    change(copy)
    return bytes(copy)


PIXEL_HEADER = struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0)


def body() -> bytes:
    """The data set of a sound file, in explicit VR little endian."""
    whole = written(dataset())
    return whole[whole.index(b"\x08\x00\x16\x00UI", 132) :]


def head() -> bytes:
    """The data set of a sound file up to its pixels."""
    return body()[: body().index(PIXEL_HEADER)]


def meta_of(syntax: uid.UID) -> bytes:
    """Preamble, prefix and file meta information of a file."""
    made = dataset()
    made.file_meta.TransferSyntaxUID = syntax
    stream = BytesIO()
    write_file_meta_info(stream, made.file_meta, enforce_standard=True)
    return b"\0" * 128 + b"DICM" + stream.getvalue()


def disguised(syntax: uid.UID) -> bytes:
    """A native file that claims another transfer syntax."""
    return meta_of(syntax) + body()
