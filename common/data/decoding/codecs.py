"""Which decoder reads which transfer syntax: one for each, so that no site reads another image.

pydicom would try every plugin that happens to be installed, and take the first that does not
complain; libraries differ in what they silently fill in where a stream ends early. Here each
compressed syntax of PS3.5 A.4 has one decoder, and a stream is looked at before it is decoded: it
has to end where it should, and to be of the size that the header declares.

| Transfer syntax | Decoder |
|---|---|
| JPEG baseline | Pillow (libjpeg-turbo) |
| JPEG extended, JPEG lossless | imagecodecs (libjpeg-turbo 3: 12 bits, lossless) |
| JPEG-LS | imagecodecs (CharLS) |
| JPEG 2000, High-Throughput JPEG 2000 | imagecodecs (OpenJPEG) |
| RLE | imagecodecs (PackBits) |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from common.data.decoding.rle import decode_rle
from common.errors import DataError

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder, DecodeRunner

IMAGECODECS = "imagecodecs"
_JPEG = frozenset({uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1})
_JPEG_LS = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})
JPEG_2000 = frozenset(
    {uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
)
PLUGINS: dict[UID, str] = {
    uid.JPEGBaseline8Bit: "pillow",
    **dict.fromkeys(_JPEG | _JPEG_LS | JPEG_2000 | {uid.RLELossless}, IMAGECODECS),
}

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Start of frame: T.81 table B.1, and T.87 for JPEG-LS."""


def is_available(syntax: str) -> bool:
    """Whether this module decodes a transfer syntax (pydicom's contract of a plugin)."""
    return PLUGINS.get(UID(syntax)) == IMAGECODECS


@cache
def decoder_for(syntax: UID) -> tuple[Decoder, str]:
    """pydicom's decoder of a transfer syntax, and the plugin that it has to use.

    Raises:
        DataError: where the syntax is no image's, or unknown.
    """
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        known = f": {syntax.name}" if syntax.is_transfer_syntax else ""
        raise DataError(f"no decoder reads its transfer syntax{known}") from None
    if decoder.is_native:
        return decoder, ""
    plugin = PLUGINS.get(syntax, "")
    if plugin == IMAGECODECS and plugin not in decoder.available_plugins:
        decoder.add_plugin(IMAGECODECS, (__name__, "decode_frame"))
    if plugin not in decoder.available_plugins:
        raise DataError(f"no decoder reads its transfer syntax: {syntax.name}")
    return decoder, plugin


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame (pydicom's contract of a plugin)."""
    syntax = runner.transfer_syntax
    if syntax == uid.RLELossless:
        size, each = runner.rows * runner.columns, runner.bits_allocated // 8
        runner.set_option("planar_configuration", 1)
        return bytearray(decode_rle(source, size, runner.samples_per_pixel, each).tobytes())
    pixels = _codec(syntax, runner.samples_per_pixel)(source)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    if syntax in JPEG_2000 and runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
        runner.set_option("photometric_interpretation", "RGB")  # OpenJPEG has undone it
    return bytearray(pixels.tobytes())


def _codec(syntax: UID, samples: int) -> Callable[[bytes], NDArray[np.generic]]:
    if syntax in _JPEG_LS:
        return imagecodecs.jpegls_decode
    if syntax in JPEG_2000:
        return imagecodecs.jpeg2k_decode
    if samples == 1:
        return imagecodecs.jpeg8_decode
    # Equal colour spaces in and out: the samples as they are, whatever a marker says of them.
    return lambda source: imagecodecs.jpeg8_decode(source, colorspace="RGB", outcolorspace="RGB")


def check_stream(syntax: UID, source: bytes, shape: tuple[int, int, int]) -> None:
    """Refuse a frame that ends early or is of another size than the header says, undecoded.

    Args:
        syntax: transfer syntax.
        source: one frame's stream.
        shape: Rows, Columns and SamplesPerPixel as declared.
    """
    if syntax == uid.RLELossless:
        return  # it has no markers: what each segment unpacks to is counted
    if not source.rstrip(b"\0\xff").endswith(b"\xff\xd9"):  # EOI, EOC; then padding
        raise DataError(f"it is truncated: the {syntax.name} stream has no end marker")
    found = _jpeg_2000_shape(source) if syntax in JPEG_2000 else _jpeg_shape(source)
    if found is None:
        raise DataError(f"its pixel data is no {syntax.name} stream")
    if found != shape:
        raise DataError(
            "its compressed stream is of another size than Rows (0028,0010), "
            "Columns (0028,0011) and SamplesPerPixel (0028,0002) declare"
        )


def _jpeg_shape(source: bytes) -> tuple[int, int, int] | None:
    """Height, width and components of a JPEG or JPEG-LS stream (T.81 B.2.2)."""
    if source[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 10 <= len(source):
        if source[position] != 0xFF:
            return None
        marker = source[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _SOF:
            height = int.from_bytes(source[position + 5 : position + 7], "big")
            width = int.from_bytes(source[position + 7 : position + 9], "big")
            return height, width, source[position + 9]
        else:
            position += 2 + int.from_bytes(source[position + 2 : position + 4], "big")
    return None


def _jpeg_2000_shape(source: bytes) -> tuple[int, int, int] | None:
    """Height, width and components of a JPEG 2000 codestream (T.800 A.5.1), in JP2 or alone."""
    position = 0
    if source[4:8] == b"jP  ":  # boxes of a JP2 file (T.800 I.4); the codestream is in jp2c
        while source[position + 4 : position + 8] != b"jp2c":
            length = int.from_bytes(source[position : position + 4], "big")
            if length < 8 or position + length >= len(source):
                return None
            position += length
        position += 8
    if source[position : position + 4] != b"\xff\x4f\xff\x51":
        return None
    x, y, x0, y0 = (
        int.from_bytes(source[position + 8 + 4 * i : position + 12 + 4 * i], "big")
        for i in range(4)
    )
    return y - y0, x - x0, int.from_bytes(source[position + 40 : position + 42], "big")
