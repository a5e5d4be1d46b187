"""DICOM to grey levels: windows, inversion, and refusals by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from common.data.dicom import read_dicom
from common.data.images import read_image
from common.errors import DataError
from simulations.hospitals import HOSPITALS, to_dicom

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
PLAIN = HOSPITALS[0]


def saved(tmp_path: Path, hospital: object = PLAIN, **changes: object) -> Path:
    dataset = to_dicom(RAMP, hospital, "P1", 40, "F", "entropy")  # type: ignore[arg-type]
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    path = tmp_path / "image.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_the_window_clips_and_stretches(tmp_path: Path) -> None:
    grey = read_dicom(saved(tmp_path, WindowCenter=2048, WindowWidth=1024))
    assert (grey.min(), grey.max()) == (0.0, 1.0)
    assert grey.ravel()[:1200].max() == 0.0  # below 2048 - 512
    assert grey.ravel()[-1200:].min() == 1.0
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5)
    middle = round(RAMP.ravel()[2048] * 4095)
    assert grey.ravel()[2048] == pytest.approx((middle - 2047.5) / 1023 + 0.5, abs=1e-4)


def test_monochrome1_comes_out_bright_where_dense(tmp_path: Path) -> None:
    inverted = read_dicom(saved(tmp_path, HOSPITALS[2]))
    assert HOSPITALS[2].inverted
    assert inverted[0, 0] < inverted[-1, -1]


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    shifted = saved(tmp_path, RescaleIntercept=-1000, WindowCenter=1048, WindowWidth=1024)
    grey = read_dicom(shifted)
    plain = read_dicom(saved(tmp_path, WindowCenter=2048, WindowWidth=1024))
    np.testing.assert_allclose(grey, plain, atol=1e-6)


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"image\.dcm"):
        read_dicom(path)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"text\.png"):
        read_image(path, 32, 1)


def test_a_16_bit_png_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    pixels = read_image(tmp_path / "deep.png", 64, 1)[0]
    np.testing.assert_allclose(pixels, ramp / 257, atol=1)


def test_every_site_writes_valid_files(hospitals: Path) -> None:
    for path in sorted(hospitals.rglob("*.dcm"))[::10]:
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID
        assert dataset.BitsStored == 12
        assert read_image(path, 32, 1).shape == (1, 32, 32)


def test_a_real_pair_is_each_others_inverse(real_images: Path) -> None:
    files = sorted((real_images / "dicom_chest").glob("*.dcm"))
    by_kind = {str(pydicom.dcmread(f).PhotometricInterpretation): read_dicom(f) for f in files}
    np.testing.assert_allclose(by_kind["MONOCHROME1"], 1 - by_kind["MONOCHROME2"], atol=1 / 255)
