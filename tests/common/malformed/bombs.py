"""Small files that ask for much: streams that inflate, sizes without end, nests without end."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.common.malformed.base import (
    EXPLICIT,
    Case,
    Cases,
    body,
    dataset,
    element,
    head,
    meta_of,
    patched,
    rle_frame,
    written,
)

MB = 2**20


def bombs() -> Cases:
    """Small files that ask for much."""
    inflated = head() + element(0x7FE0, 0x0010, "OW", b"", 2**30)
    meta = meta_of(uid.DeflatedExplicitVRLittleEndian)
    yield Case("deflate-1GB", "bomb", meta + deflated(inflated, 2**30), "refused")

    run = bytes([129, 0]) * (MB // 4)  # each pair unpacks to 128 bytes
    for name, rows in (("small", 16), ("consistent", 4096), ("declared-1GB", 32767)):
        made = dataset(uid.RLELossless)
        made.Rows, made.Columns = rows, 2 * rows
        made.PixelData = encapsulate([rle_frame([run, run])])
        made["PixelData"].VR = "OB"
        expected = "read" if name == "consistent" else "refused"
        yield Case(f"rle-{name}", "bomb", written(made), expected)

    for rows in (8192, 60000):
        for lies in (False, True):
            blank = bytes(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), level=0))
            made = dataset(uid.JPEG2000Lossless)
            made.Rows = made.Columns = 64 if lies else rows
            at = blank.index(b"\xff\x51") + 6
            sizes = struct.pack(">8L", rows, rows, 0, 0, rows, rows, 0, 0)
            made.PixelData = encapsulate([blank[:at] + sizes + blank[at + 32 :]])
            made["PixelData"].VR = "OB"
            yield Case(f"j2k-{rows}-{lies}", "bomb", written(made), "refused")
    blank = bytes(imagecodecs.jpegls_encode(np.zeros((8192, 8192), np.uint8)))
    made = dataset(uid.JPEGLSLossless)
    made.Rows = made.Columns = 8192
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = encapsulate([blank])
    made["PixelData"].VR = "OB"
    yield Case("jpeg-ls-blank", "bomb", written(made), "either")
    frames = dataset(uid.RLELossless)
    frames.NumberOfFrames = 2**30
    yield Case("frames", "bomb", written(frames), "refused")
    table = dataset()
    table.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):  # indirect segments that name themselves
        setattr(table, f"{colour}PaletteColorLookupTableDescriptor", [0, 0, 16])
        segments = struct.pack("<HHH", 0, 1, 7) + struct.pack("<HHHH", 2, 3, 0, 0) * 2000
        setattr(table, f"Segmented{colour}PaletteColorLookupTableData", segments)
    yield Case("segmented-palette", "bomb", written(table), "refused")
    many = head() + element(0x0009, 0x0010, "LO", b"") * 600_000
    yield Case("elements", "bomb", meta_of(EXPLICIT) + many, "refused")


def deflated(start: bytes, zeros: int) -> bytes:
    """A raw deflate stream of some bytes and very many zeros, put together from equal blocks."""
    stream = zlib.compressobj(9, wbits=-15)
    first = stream.compress(start) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(b"\0" * MB) + stream.flush(zlib.Z_FULL_FLUSH)
    last = stream.compress(b"\0" * (zeros % MB)) + stream.flush()
    return first + block * (zeros // MB) + last


def plain_bombs() -> Cases:
    """PNG, TIFF and JPEG that unpack to more than a file may."""
    for side in (8000, 30000, 100_000):
        header = struct.pack(">LLBBBBB", side, side, 8, 0, 0, 0, 0)
        size = (1 + side) * side
        data = b"\x78\xda" + deflated(b"", size) + struct.pack(">L", (size % 65521) << 16 | 1)
        chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
        body = b"".join(
            struct.pack(">L", len(value))
            + name
            + value
            + struct.pack(">L", zlib.crc32(name + value))
            for name, value in chunks
        )
        expected = "either" if side == 8000 else "refused"
        yield Case(f"png-{side}", "bomb", b"\x89PNG\r\n\x1a\n" + body, expected)
    for compression in ("tiff_deflate", "tiff_lzw"):
        stream = BytesIO()
        Image.new("L", (9000, 9000)).save(stream, "TIFF", compression=compression)
        yield Case(compression, "bomb", stream.getvalue(), "refused")
    stream = BytesIO()
    Image.new("L", (9000, 9000)).save(stream, "JPEG")
    yield Case("jpeg-9000", "bomb", stream.getvalue(), "refused")
    grown = patched(stream.getvalue(), _grow_jpeg)
    yield Case("jpeg-65500", "bomb", grown, "refused")

    yield Case("jpeg-scans", "bomb", _many_scans(), "refused")


def _many_scans() -> bytes:
    """A progressive JPEG whose last scan comes again and again: each is a pass over the image."""
    stream = BytesIO()
    Image.new("L", (4000, 4000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:last] + data[last:end] * 4000 + data[end:]


def _grow_jpeg(data: bytearray) -> None:
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65500, 65500)


def deep_sequences() -> Cases:
    """Sequences in sequences, of undefined and of defined length."""
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 2**32 - 1)
    unknown = struct.pack("<HH2sHL", 0x0009, 0x1001, b"UN", 0, 2**32 - 1)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 2**32 - 1)
    item_end, sequence_end = (struct.pack("<HHL", 0xFFFE, n, 0) for n in (0xE00D, 0xE0DD))
    rest = body()
    for depth in (10, 33, 100, 1000, 50_000):
        nest = (sequence + item) * depth + (item_end + sequence_end) * depth
        expected = "read" if depth < 33 else "refused"
        yield Case(f"undefined-{depth}", "deep", meta_of(EXPLICIT) + nest + rest, expected)
        yield Case(
            f"open-{depth}", "deep", meta_of(EXPLICIT) + (sequence + item) * depth, "refused"
        )
    nest = (unknown + item) + (struct.pack("<HHL", 9, 0x1001, 2**32 - 1) + item) * 200
    yield Case("unknown", "deep", meta_of(EXPLICIT) + nest, "refused")
    for depth in (10, 100, 2000):
        inner = b""
        for _ in range(depth):
            held = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, len(held)) + held
        expected = "read" if depth < 33 else "refused"
        yield Case(f"defined-{depth}", "deep", meta_of(EXPLICIT) + inner + rest, expected)
