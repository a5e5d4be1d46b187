"""Files that end early, and files whose sizes lie."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.common.malformed.base import (
    COMPRESSED,
    PIXEL_HEADER,
    Case,
    Cases,
    Expected,
    changed,
    dataset,
    disguised,
    frame,
    pixels,
    written,
)


def truncations() -> Cases:
    """At every tenth byte of a native file, and at twenty places of each compressed kind."""
    whole = written(dataset())
    for size in range(0, len(whole) - 1, 10):
        yield Case(f"native-{size}", "truncated", whole[:size], "refused")
    for syntax in COMPRESSED:
        whole = written(dataset(syntax, pixels(64, 64)))
        for step in range(20):
            size = len(whole) * step // 20
            yield Case(f"{syntax.keyword}-{step}", "truncated", whole[:size], "refused")
        made = dataset(syntax)
        stream = frame(syntax, pixels())
        cut = stream[: len(stream) * 3 // 4 // 2 * 2]
        made.PixelData = encapsulate([cut])
        made["PixelData"].VR = "OB"
        yield Case(f"{syntax.keyword}-stream", "truncated", written(made), "refused")
    for kind in ("PNG", "JPEG", "BMP", "TIFF"):
        stream = BytesIO()
        Image.fromarray((pixels(64, 64) >> 4).astype(np.uint8)).save(stream, kind)
        for share in (0.02, 0.2, 0.6, 0.9):
            cut = stream.getvalue()[: int(len(stream.getvalue()) * share)]
            expected: Expected = "either" if share == 0.9 else "refused"  # what is cut may be empty
            yield Case(f"{kind}-{share}", "truncated", cut, expected)


def lying_values() -> Cases:
    """Values of the Image Pixel module that contradict the pixels, each other or reason."""
    wrong = {
        "Rows": (0, 17, 64, 8, 65535, None),
        "Columns": (0, 17, 64, 8, 65535, None),
        "NumberOfFrames": (2, 1000, 2**31 - 1, -1),
        "SamplesPerPixel": (0, 2, 3, 65535),
        "BitsAllocated": (0, 7, 12, 24, 32, 64, 65535, None),
        "BitsStored": (0, 17, 65535, None),
        "HighBit": (3, 16, 65535),
        "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "YBR_FULL", "HSV", "", None),
        "WindowWidth": (0, -5),
        "RescaleSlope": (0,),
        "PixelData": (b"", None),
    }
    for keyword, values in wrong.items():
        for value in values:
            name = f"{keyword}-{value!r}"[:40]
            extra = {"RescaleIntercept": 0} if keyword == "RescaleSlope" else {}
            yield Case(name, "lying values", changed(**{keyword: value}, **extra), "refused")
    for syntax in COMPRESSED:
        for keyword in ("Rows", "Columns"):
            data = changed(syntax, **{keyword: 32})
            yield Case(f"{syntax.keyword}-{keyword}", "lying values", data, "refused")
        if syntax != uid.RLELossless:
            data = changed(syntax, Rows=8, Columns=32)
            yield Case(f"{syntax.keyword}-shape", "lying values", data, "refused")
    for name in ("MPEG2MPML", "JPIPHTJ2KReferenced"):
        data = disguised(getattr(uid, name))
        yield Case(f"syntax-{name}", "lying values", data, "refused")
    yield Case("syntax-unknown", "lying values", disguised(uid.UID("1.2.3.4.5")), "refused")
    for syntax in COMPRESSED:
        yield Case(f"native-as-{syntax.keyword}", "lying values", disguised(syntax), "refused")


def lying_lengths() -> Cases:
    """Lengths of elements that do not fit the file."""
    whole = written(dataset())
    at = whole.index(PIXEL_HEADER) + 8
    for length in (0, 2, 510, 514, 2**31, 2**32 - 2):
        data = whole[:at] + struct.pack("<L", length) + whole[at + 4 :]
        yield Case(f"pixels-{length}", "lying lengths", data, "refused")
    undefined = whole[:at] + b"\xff" * 4 + whole[at + 4 :]
    yield Case("pixels-undefined", "lying lengths", undefined, "refused")
    name = whole.index(b"\x10\x00\x10\x00PN") + 6
    for length in (0, 1, 3, 200, 65535):
        data = whole[:name] + struct.pack("<H", length) + whole[name + 2 :]
        yield Case(f"name-{length}", "lying lengths", data, "either")
    for length in (4, 1000, 2**31):
        data = whole[:140] + struct.pack("<L", length) + whole[144:]
        yield Case(f"meta-{length}", "lying lengths", data, "either")


def excess() -> Cases:
    """More pixels than declared."""
    for name, size, expected in (
        ("pad", 2, "read"),
        ("row", 32, "read"),
        ("double", 4096, "refused"),
        ("thousandfold", 512 * 1000, "refused"),
    ):
        data = changed(PixelData=pixels().tobytes() + b"\1" * size)
        yield Case(name, "excess pixels", data, expected)
    yield Case("after", "excess pixels", written(dataset()) + b"\xa5" * 5000, "read")
