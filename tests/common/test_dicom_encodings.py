"""Stored values: transfer syntaxes, bits, planes, colours, and files that lack something."""

from __future__ import annotations

import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space

from common.data.decoding.codecs import PLUGINS, decoder_for
from common.data.dicom import Rendering, read_dicom
from common.errors import DataError
from tests.common.malformed.base import (
    COMPRESSED,
    EXPLICIT,
    IMPLICIT,
    body,
    changed,
    dataset,
    disguised,
    meta_of,
    pixels,
    written,
)

EXPECTED = np.clip((pixels() - 2047.5) / 4095 + 0.5, 0, 1)
"""What a sound file of ``dataset()`` shows."""


def read(tmp_path: Path, data: bytes | FileDataset) -> NDArray[np.float32]:
    path = tmp_path / "file"
    path.write_bytes(data if isinstance(data, bytes) else written(data))
    return read_dicom(path, Rendering())[0]


def colour(image: NDArray[np.uint8], photometric: str = "RGB", planar: int = 0) -> FileDataset:
    made = dataset(image=image)
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, photometric
    made.PlanarConfiguration = planar
    bits = 8 * image.dtype.itemsize
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit = bits - 1
    ordered = np.moveaxis(image, -1, 0) if planar else image
    made.PixelData = np.ascontiguousarray(ordered).tobytes()
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    return made


def rgb(rows: int = 6, columns: int = 10, kind: str = "u1") -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(kind).max, (rows, columns, 3), endpoint=True).astype(kind)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_lossless_syntaxes_give_the_native_image(syntax: uid.UID, tmp_path: Path) -> None:
    np.testing.assert_allclose(read(tmp_path, dataset(syntax))[0], EXPECTED, atol=1e-6)


def test_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    made = dataset()
    made.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    made.PixelData = encapsulate([bytes(imagecodecs.htj2k_encode(pixels()))])
    made["PixelData"].VR = "OB"
    np.testing.assert_allclose(read(tmp_path, made)[0], EXPECTED, atol=1e-6)


def test_deflate(tmp_path: Path) -> None:
    stream = zlib.compressobj(9, wbits=-15)
    deflated = stream.compress(body()) + stream.flush()
    data = meta_of(uid.DeflatedExplicitVRLittleEndian) + deflated
    np.testing.assert_allclose(read(tmp_path, data)[0], EXPECTED, atol=1e-6)


def test_every_compressed_syntax_has_one_decoder_and_it_is_there() -> None:
    for syntax, plugin in PLUGINS.items():
        decoder, named = decoder_for(syntax)
        assert named == plugin
        assert plugin in decoder.available_plugins


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT], ids=lambda syntax: syntax.keyword)
def test_a_file_without_file_meta_is_tried(syntax: uid.UID, tmp_path: Path) -> None:
    data = written(dataset(syntax))
    start = data.index(b"\x08\x00\x16\x00", 132)
    np.testing.assert_allclose(read(tmp_path, data[start:])[0], EXPECTED, atol=1e-6)


def test_a_file_that_names_the_wrong_vr_is_read_as_it_is(tmp_path: Path) -> None:
    np.testing.assert_allclose(read(tmp_path, disguised(IMPLICIT))[0], EXPECTED, atol=1e-6)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("high", [9, 12, 15])
def test_only_the_stored_bits_count(signed: int, high: int, tmp_path: Path) -> None:
    """10 bits of 16 that end at ``high``; the others hold overlays or dirt (PS3.5 8.1.1)."""
    values = np.arange(-512 * signed, 1024 - 512 * signed).reshape(32, 32)
    rng = np.random.default_rng(0)
    dirt = rng.integers(0, 2**16, values.shape) & ~(0x3FF << (high - 9)) & 0xFFFF
    made = dataset(image=((values & 0x3FF) << (high - 9) | dirt).astype(np.uint16))
    made.BitsStored, made.HighBit, made.PixelRepresentation = 10, high, signed
    made.WindowCenter, made.WindowWidth = 0.5 + (values.min() + values.max()) / 2, 1024
    np.testing.assert_allclose(read(tmp_path, made)[0], (values - values.min()) / 1023, atol=1e-6)


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", "<u4", "<i4"])
def test_8_to_32_bits(kind: str, tmp_path: Path) -> None:
    limits = np.iinfo(kind)
    image = np.linspace(limits.min, limits.max, 256).reshape(16, 16).astype(kind)
    made = dataset(image=image)
    del made.WindowCenter, made.WindowWidth
    bits = limits.bits
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, int("i" in kind)
    shown = read(tmp_path, made)[0]
    np.testing.assert_allclose(shown.ravel(), np.linspace(0, 1, 256), atol=1 / 255)


@pytest.mark.parametrize(
    ("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_float_pixels(keyword: str, kind: str, tmp_path: Path) -> None:
    made = dataset()
    for gone in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "WindowWidth"):
        delattr(made, gone)
    made.BitsAllocated = 8 * np.dtype(kind).itemsize
    setattr(made, keyword, np.linspace(-1e6, 1e6, 256).astype(kind).tobytes())
    shown = read(tmp_path, made)[0]
    np.testing.assert_allclose(shown.ravel(), np.linspace(0, 1, 256), atol=1e-6)


def test_one_bit(tmp_path: Path) -> None:
    made = dataset()
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    del made.WindowCenter, made.WindowWidth
    made.PixelData = bytes([0b00000001, 0b10000000] * 16)
    shown = read(tmp_path, made)[0]
    assert shown[0].tolist() == [1.0] + [0.0] * 14 + [1.0]


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("kind", ["u1", "<u2", "<u4"])
def test_rgb_in_both_planar_configurations(planar: int, kind: str, tmp_path: Path) -> None:
    image = rgb(kind=kind)
    shown = read(tmp_path, colour(image, planar=planar))
    assert shown.shape == (3, 6, 10)
    expected = np.moveaxis(image / np.iinfo(kind).max, -1, 0)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_comes_out_as_rgb(planar: int, tmp_path: Path) -> None:
    image = rgb()
    ybr = convert_color_space(image, "RGB", "YBR_FULL")
    shown = read(tmp_path, colour(ybr, "YBR_FULL", planar))
    expected = np.moveaxis(convert_color_space(ybr, "YBR_FULL", "RGB") / 255, -1, 0)
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    by_hand = 255 * shown[:, 0, 0]  # R = Y + 1.402 (Cr - 128) and so on, PS3.3 C.7.6.3.1.2
    y, cb, cr = ybr[0, 0].astype(float) - [0, 128, 128]
    wanted = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
    np.testing.assert_allclose(by_hand, np.clip(wanted, 0, 255), atol=1)


def test_jpeg_ls_in_colour_whatever_its_interleaving(tmp_path: Path) -> None:
    image = rgb()
    made = colour(image)
    made.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
    made.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(image))])
    np.testing.assert_allclose(read(tmp_path, made), np.moveaxis(image / 255, -1, 0), atol=1e-6)


@pytest.mark.parametrize("photometric", ["YBR_ICT", "YBR_RCT"])
def test_jpeg_2000_colours_come_out_as_rgb(photometric: str, tmp_path: Path) -> None:
    image = rgb(64, 64)
    made = colour(image, photometric)
    made.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    stream = imagecodecs.jpeg2k_encode(image, level=0, codecformat="J2K", mct=True)
    made.PixelData = encapsulate([bytes(stream)])
    np.testing.assert_allclose(read(tmp_path, made), np.moveaxis(image / 255, -1, 0), atol=1e-6)


def test_ybr_of_jpeg_2000_in_a_native_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="PhotometricInterpretation"):
        read(tmp_path, colour(rgb(), "YBR_RCT"))


def palette(bits: int, order: str = "<", first: int = 2) -> FileDataset:
    """Four colours, the first of them for the stored value ``first``."""
    made = dataset(image=np.arange(8, dtype=np.uint16).reshape(2, 4))
    made.PhotometricInterpretation = "PALETTE COLOR"
    top = 2**bits - 1
    for number, name in enumerate(("Red", "Green", "Blue")):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [4, first, bits])
        entries = (
            np.array([0, 1, 2, 3]) * top // 3 if number == 0 else np.full(4, number * top // 2)
        )
        kind = "u1" if bits == 8 else f"{order}u2"
        setattr(made, f"{name}PaletteColorLookupTableData", entries.astype(kind).tobytes())
    return made


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_and_what_lies_beyond_its_ends(bits: int, tmp_path: Path) -> None:
    shown = read(tmp_path, palette(bits))
    assert shown.shape == (3, 2, 4)
    expected = np.array([0, 0, 0, 1, 2, 3, 3, 3]) / 3
    np.testing.assert_allclose(shown[0].ravel(), expected, atol=1e-4)
    np.testing.assert_allclose(shown[1], 0.5, atol=0.01)
    np.testing.assert_allclose(shown[2], 1.0, atol=1e-6)


def test_a_segmented_palette(tmp_path: Path) -> None:
    """Discrete 0, then a linear run of four to 65535 (PS3.3 C.7.9.2)."""
    made = palette(16, first=0)
    segments = np.array([0, 1, 0, 1, 4, 65535], "<u2").tobytes()
    for name in ("Red", "Green", "Blue"):
        delattr(made, f"{name}PaletteColorLookupTableData")
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [5, 0, 16])
        setattr(made, f"Segmented{name}PaletteColorLookupTableData", segments)
    shown = read(tmp_path, made)[0].ravel()
    np.testing.assert_allclose(shown[:5], [0, 0.25, 0.5, 0.75, 1], atol=1e-4)


def test_a_stream_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for syntax in COMPRESSED:
        sizes = {"Rows": 32} if syntax == uid.RLELossless else {"Rows": 32, "Columns": 8}
        with pytest.raises(DataError, match=r"file: .*(another size|damaged)"):
            read(tmp_path, changed(syntax, **sizes))
