"""DICOM to grey levels: windows, inversion, frames, and refusals by name."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from common.data.dicom import Rendering, choose_frames, read_dicom, render
from common.data.images import STRETCHED, read_image
from common.errors import DataError
from simulations.hospitals import HOSPITALS, to_dicom
from tests.common.malformed.base import dataset, pixels, written

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
PLAIN = HOSPITALS[0]
EVERY_FRAME = Rendering(frames="all")


def saved(tmp_path: Path, hospital: object = PLAIN, **changes: object) -> Path:
    made = to_dicom(RAMP, hospital, "P1", 40, "F", "entropy")  # type: ignore[arg-type]
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    path = tmp_path / "image.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def grey(path: Path, rendering: Rendering = STRETCHED) -> np.ndarray:
    images = read_dicom(path, rendering)
    assert images.dtype == np.float32
    assert images.shape[:2] == (1, 1)
    return images[0, 0]


def test_the_window_clips_and_stretches(tmp_path: Path) -> None:
    shown = grey(saved(tmp_path, WindowCenter=2048, WindowWidth=1024))
    assert (shown.min(), shown.max()) == (0.0, 1.0)
    assert shown.ravel()[:1200].max() == 0.0  # below 2048 - 512
    assert shown.ravel()[-1200:].min() == 1.0
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5)
    middle = round(RAMP.ravel()[2048] * 4095)
    assert shown.ravel()[2048] == pytest.approx((middle - 2047.5) / 1023 + 0.5, abs=1e-4)


def test_a_wide_window_shows_little_contrast_unless_it_is_stretched(tmp_path: Path) -> None:
    path = saved(tmp_path, WindowCenter=2048, WindowWidth=8192)
    shown = grey(path, Rendering())
    assert shown.min() == pytest.approx((0 - 2047.5) / 8191 + 0.5, abs=1e-6)
    assert shown.max() == pytest.approx((4095 - 2047.5) / 8191 + 0.5, abs=1e-6)
    stretched = grey(path)
    assert (stretched.min(), stretched.max()) == (0.0, 1.0)


def test_monochrome1_comes_out_bright_where_dense(tmp_path: Path) -> None:
    inverted = grey(saved(tmp_path, HOSPITALS[2]))
    assert HOSPITALS[2].inverted
    assert inverted[0, 0] < inverted[-1, -1]


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    shifted = saved(tmp_path, RescaleIntercept=-1000, WindowCenter=1048, WindowWidth=1024)
    shown = grey(shifted)
    plain = grey(saved(tmp_path, WindowCenter=2048, WindowWidth=1024))
    np.testing.assert_allclose(shown, plain, atol=1e-6)


def test_of_several_windows_the_first_is_taken_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, WindowCenter=[1000, 3000], WindowWidth=[500, 500])
    first, second, third = (grey(path, Rendering(view=view)) for view in range(3))
    assert first.mean() > second.mean()
    np.testing.assert_array_equal(third, first)  # the file has no third


def test_the_callers_data_set_is_not_changed() -> None:
    made = dataset()
    made.RescaleSlope, made.RescaleIntercept = 2, -7
    before = deepcopy(made)
    stored = pixels()
    kept = stored.copy()
    render(stored, made, rendering=STRETCHED)
    assert made == before
    np.testing.assert_array_equal(stored, kept)


def multi_frame(tmp_path: Path, count: int = 5) -> Path:
    """Frames whose only difference is a constant."""
    made = dataset(image=pixels())
    made.NumberOfFrames = count
    made.PixelData = b"".join((pixels() // 2 + 100 * i).tobytes() for i in range(count))
    path = tmp_path / "frames.dcm"
    path.write_bytes(written(made))
    return path


@pytest.mark.parametrize(("count", "middle"), [(1, 0), (2, 1), (5, 2)])
def test_the_middle_frame_is_number_half_of_them(count: int, middle: int) -> None:
    assert list(choose_frames(count, "middle")) == [middle]
    assert list(choose_frames(count, "first")) == [0]
    assert list(choose_frames(count, "all")) == list(range(count))


def test_one_frame_or_all_of_a_multi_frame_file(tmp_path: Path) -> None:
    path = multi_frame(tmp_path)
    every = read_dicom(path, EVERY_FRAME)
    assert every.shape == (5, 1, 16, 16)
    np.testing.assert_array_equal(read_dicom(path, Rendering(frames="middle"))[0], every[2])
    np.testing.assert_array_equal(read_dicom(path, Rendering(frames="first"))[0], every[0])
    assert (np.diff(every[:, 0, 0, 0]) > 0).all()


def test_a_frame_is_asked_for_by_its_number(tmp_path: Path) -> None:
    path = multi_frame(tmp_path)
    assert read_image(path, 8, 3).shape == (3, 8, 8)
    shown = [read_image(tmp_path / f"frames.dcm#frame-{i}", 8, 1, EVERY_FRAME) for i in range(5)]
    assert (np.diff([int(image.mean()) for image in shown]) > 0).all()
    with pytest.raises(DataError, match="several images where one was asked for"):
        read_image(path, 8, 1, EVERY_FRAME)
    with pytest.raises(DataError, match="does not hold it"):
        read_image(tmp_path / "frames.dcm#frame-5", 8, 1, EVERY_FRAME)


def test_a_frame_has_its_own_window_in_an_enhanced_object(tmp_path: Path) -> None:
    path = multi_frame(tmp_path, 2)
    made = pydicom.dcmread(path)
    del made.WindowCenter, made.WindowWidth
    shared, frames = Dataset(), [Dataset(), Dataset()]
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, 0
    shared.PixelValueTransformationSequence = [rescale]
    for frame, centre in zip(frames, (1000, 3000), strict=True):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = centre, 1000
        frame.FrameVOILUTSequence = [window]
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], frames
    made.save_as(path)
    every = read_dicom(path, EVERY_FRAME)[:, 0]
    for frame, centre in enumerate((1000, 3000)):
        values = 2.0 * (pixels() // 2 + 100 * frame)
        expected = np.clip((values - (centre - 0.5)) / 999 + 0.5, 0, 1)
        np.testing.assert_allclose(every[frame], expected, atol=1e-6)


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"image\.dcm.*truncated"):
        read_dicom(path)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = saved(tmp_path, BitsStored=17, HighBit=16, Columns=0)
    with pytest.raises(DataError, match=r"Columns \(0028,0011\).*BitsStored \(0028,0101\)"):
        read_dicom(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    for read in (read_dicom, lambda path: read_image(path, 8, 1)):
        with pytest.raises(DataError, match=r"none\.dcm"):
            read(tmp_path / "none.dcm")


def test_every_site_writes_valid_files(hospitals: Path) -> None:
    for path in sorted(hospitals.rglob("*.dcm"))[::10]:
        made = pydicom.dcmread(path)
        assert made.file_meta.MediaStorageSOPClassUID == made.SOPClassUID
        assert made.BitsStored == 12
        assert read_image(path, 32, 1).shape == (1, 32, 32)


def test_a_real_pair_is_each_others_inverse(real_images: Path) -> None:
    files = sorted((real_images / "dicom_chest").glob("*.dcm"))
    by_kind = {str(pydicom.dcmread(f).PhotometricInterpretation): f for f in files}
    assert set(by_kind) == {"MONOCHROME1", "MONOCHROME2"}
    for rendering in (Rendering(), STRETCHED):
        first, second = (read_dicom(by_kind[kind], rendering) for kind in sorted(by_kind))
        np.testing.assert_allclose(first, 1 - second, atol=1 / 255)
    first, second = (read_image(by_kind[kind], 64, 1).astype(int) for kind in sorted(by_kind))
    assert np.abs(first - (255 - second)).max() <= 1
