"""The formulas of PS3.3 C.11, computed by hand, and beside pydicom's where pydicom is right."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from common.data.decoding.grey import Greys, Table, Window
from common.data.dicom import Rendering, read_dicom, render
from common.errors import DataError
from tests.common.malformed.base import dataset, pixels
from tests.common.reference import files

VIEW = np.array([0.0, 5.0, 10.0, 15.0, 20.0])


def greys(made: Dataset, view: int = 0, little: bool = True) -> Greys:
    return Greys.of(made, 0, view, little)


def test_linear_by_hand() -> None:
    """c = 10, w = 11: from 4.5 to 14.5, (x - 9.5) / 10 + 0.5 between."""
    assert Window(10, 11)(VIEW) == pytest.approx([0.0, 0.05, 0.55, 1.0, 1.0])
    assert Window(10, 1)(np.array([9.0, 9.5, 9.6, 10.0])).tolist() == [0, 0, 1, 1]


def test_linear_exact_by_hand() -> None:
    """c = 10, w = 10: from 5 to 15, (x - 10) / 10 + 0.5 between."""
    assert Window(10, 10, "LINEAR_EXACT")(VIEW).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_sigmoid_by_hand() -> None:
    """1 / (1 + exp(-4 (x - c) / w)): at c ± w/4 it is 1 / (1 + e^∓1)."""
    shown = Window(10, 20, "SIGMOID")(np.array([5.0, 10.0, 15.0]))
    assert shown == pytest.approx([0.2689414214, 0.5, 0.7310585786])


def test_the_example_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1: c=2048, w=4096 is y = x for 12 bits; c=0, w=1 is a threshold at -0.5."""
    x = np.arange(4096.0)
    np.testing.assert_allclose(4095 * Window(2048, 4096)(x), x, atol=1e-9)
    assert Window(0, 1)(np.array([-1.0, -0.5, 0.0])).tolist() == [0, 0, 1]


def test_a_table_gives_its_ends_beyond_its_ends() -> None:
    table = Table(-1, np.array([7.0, 8.0, 9.0]))
    assert table(np.array([-5.0, -1.0, 0.0, 1.0, 99.0])).tolist() == [7, 7, 8, 9, 9]


def test_a_negative_slope_does_not_invert_the_window() -> None:
    """The window is on the output of the rescale: what is greater there is brighter."""
    made = dataset()
    made.RescaleSlope, made.RescaleIntercept = -1, 4095
    made.WindowCenter, made.WindowWidth = 2048, 4096
    shown = render(pixels(), made)
    np.testing.assert_allclose(shown, 1 - pixels() / 4095, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [0, 1])
def test_windows_agree_with_pydicom(function: str, signed: int) -> None:
    made = dataset()
    made.PixelRepresentation, made.VOILUTFunction = signed, function
    made.RescaleSlope, made.RescaleIntercept = 1.5, -300
    made.WindowCenter, made.WindowWidth = 700, 900
    values = np.arange(-2048 * signed, 2048, dtype=np.int16)
    theirs = apply_voi_lut(apply_modality_lut(values, made), made)
    low, high = (1.5 * edge - 300 for edge in ((-2048, 2047) if signed else (0, 4095)))
    ours = greys(made)(values.astype(np.float64))
    np.testing.assert_allclose(ours, (theirs - low) / (high - low), atol=1e-12)


def test_a_modality_table_comes_before_the_window() -> None:
    made = dataset()
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 16], (np.arange(4096)[::-1] * 16).tobytes()
    item.LUTData = (np.arange(4096, dtype="<u2")[::-1] * 16).tobytes()
    made.ModalityLUTSequence = [item]
    made.WindowCenter, made.WindowWidth = 32768, 65536
    shown = render(pixels(), made)
    np.testing.assert_allclose(shown, (4095 - pixels().astype(float)) * 16 / 65535, atol=1e-6)


@pytest.mark.parametrize(("bits", "kind"), [(8, "u1"), (12, "<u2"), (16, "<u2")])
def test_a_voi_table_is_scaled_by_its_bits(bits: int, kind: str) -> None:
    made = dataset()
    item = Dataset()
    entries = np.linspace(0, 2**bits - 1, 256).astype(kind)
    item.LUTDescriptor, item.LUTData = [256, 100, bits], entries.tobytes()
    made.VOILUTSequence = [item, item]
    values = np.array([[0, 100, 200, 355, 4095]], dtype=np.uint16)
    shown = render(values, made)[0]
    expected = entries[[0, 0, 100, 255, 255]] / (2**bits - 1)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_a_big_endian_table() -> None:
    made = dataset()
    item = Dataset()
    item.LUTDescriptor = [2, 0, 16]
    item.LUTData = np.array([0, 65535], ">u2").tobytes()
    made.VOILUTSequence = [item]
    assert render(np.array([[0, 1]], np.uint16), made, little=False).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"WindowWidth": 0}, r"WindowWidth \(0028,1051\)"),
        ({"VOILUTFunction": "CUBIC"}, r"VOILUTFunction \(0028,1056\)"),
        ({"RescaleSlope": 0, "RescaleIntercept": 1}, r"RescaleSlope \(0028,1053\)"),
        ({"RescaleSlope": 1e300, "WindowWidth": None}, "finite"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_tag(values: dict[str, object], match: str) -> None:
    made = dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    stored = pixels().astype(np.float64) * 1e300 if "finite" in match else pixels()
    with np.errstate(over="ignore"), pytest.raises(DataError, match=match):
        render(stored, made)


def test_an_image_of_one_value_is_black() -> None:
    made = dataset()
    del made.WindowCenter, made.WindowWidth
    assert render(np.full((4, 4), 9, np.uint16), made).max() == 0


@pytest.mark.parametrize("kind", ["<i4", "<u4", "<f4", "<f8"])
def test_pixels_of_many_values_go_without_a_table(kind: str) -> None:
    made = dataset()
    made.BitsAllocated = made.BitsStored = 32
    made.WindowCenter, made.WindowWidth = 50_000, 100_001
    stored = np.linspace(0, 100_000, 1024).reshape(32, 32).astype(kind)
    expected = np.clip((stored - 49_999.5) / 100_000 + 0.5, 0, 1)
    np.testing.assert_allclose(render(stored, made), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_files_agree_with_pydicom() -> None:
    """Every native grey file of one frame with a window or a table, from its file to [0, 1]."""
    compared = 0
    for name, path in files().items():
        made = pydicom.dcmread(path, force=True)
        shown = "WindowCenter" in made or "VOILUTSequence" in made
        grey = str(made.get("PhotometricInterpretation")).startswith("MONOCHROME")
        if not (shown and grey and made.get("NumberOfFrames") in (None, 1)):
            continue
        if made.file_meta.TransferSyntaxUID.is_encapsulated or name == "MR_truncated.dcm":
            continue
        theirs = apply_voi_lut(apply_modality_lut(made.pixel_array, made), made).astype(float)
        if theirs.min() == theirs.max():
            continue
        theirs = (theirs - theirs.min()) / (theirs.max() - theirs.min())
        if made.PhotometricInterpretation == "MONOCHROME1":
            theirs = 1 - theirs
        ours = read_dicom(path, Rendering(intensity="extremes"))[0, 0]
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=name)
        compared += 1
    assert compared >= 10
