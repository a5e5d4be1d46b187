"""What becomes black and white, and how an image that is not square becomes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.cache import decoded_images
from common.compose import load_settings
from common.config import SourceSettings, TaskSettings
from common.data.decoding.choices import Intensity
from common.data.decoding.intensity import limits_of, stored_levels
from common.data.dicom import Rendering, read_dicom
from common.data.images import read_image, rendering_of
from common.data.manifest import Manifest
from common.errors import SettingsError
from tests.common.malformed.base import dataset, written

SIDE = 32


def dicom(folder: Path, stored: np.ndarray, **elements: object) -> Path:
    """A DICOM file of 16-bit grey levels, (SIDE, SIDE)."""
    made = dataset(image=stored.astype(np.uint16))
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    path = folder / "image.dcm"
    path.write_bytes(written(made))
    return path


def shown(path: Path, intensity: Intensity, *bounds: float) -> np.ndarray:
    return read_dicom(path, Rendering(intensity=intensity, bounds=bounds))[0, 0]


@pytest.fixture
def ramp() -> np.ndarray:
    return np.arange(SIDE * SIDE).reshape(SIDE, SIDE) + 100


def test_percentiles_are_numpys() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 5000, (64, 64)).astype(np.uint16)
    found = limits_of(*stored_levels(stored), "percentile", (5, 90))
    wanted = np.percentile(stored, [5, 90], method="inverted_cdf")
    assert found == tuple(wanted)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_levels_are_counted_for_every_type(kind: type) -> None:
    stored = np.array([[3, 1], [1, 7]], dtype=kind)
    levels, counts = stored_levels(stored)
    assert (levels.tolist(), counts.tolist()) == ([1, 3, 7], [2, 1, 1])


def test_a_marker_spoils_the_extremes_and_not_the_percentiles(
    ramp: np.ndarray, tmp_path: Path
) -> None:
    ramp[0, 0] = 4095  # a burned-in marker
    path = dicom(tmp_path, ramp)
    assert np.median(shown(path, "extremes")) < 0.15
    assert 0.45 < np.median(shown(path, "percentile")) < 0.55
    assert shown(path, "percentile").max() == 1  # clipped, not wrapped


def test_a_range_of_constants_is_in_the_modalitys_unit_and_instead_of_the_window(
    ramp: np.ndarray, tmp_path: Path
) -> None:
    path = dicom(
        tmp_path, ramp, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=10
    )
    np.testing.assert_allclose(
        shown(path, "range", -800, 0), np.clip((2 * ramp - 1000 + 800) / 800, 0, 1), atol=1e-6
    )


def test_a_range_inverts_monochrome1(ramp: np.ndarray, tmp_path: Path) -> None:
    plain = shown(dicom(tmp_path, ramp), "range", 0, 2000)
    path = dicom(tmp_path, ramp, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(shown(path, "range", 0, 2000), 1 - plain, atol=1e-6)


def test_auto_leaves_a_rendered_file_and_stretches_dicom(ramp: np.ndarray, tmp_path: Path) -> None:
    path = dicom(tmp_path, ramp)
    np.testing.assert_array_equal(shown(path, "auto"), shown(path, "extremes"))
    grey = tmp_path / "grey.png"
    Image.fromarray((ramp // 8).astype(np.uint8)).save(grey)
    np.testing.assert_array_equal(read_image(grey, SIDE, 1)[0], ramp // 8)


@pytest.mark.parametrize("bits", [8, 16])
def test_files_that_are_no_dicom_follow_the_same_rules(
    bits: int, ramp: np.ndarray, tmp_path: Path
) -> None:
    stored = ramp // 8 if bits == 8 else ramp
    path = tmp_path / "grey.png"
    Image.fromarray(stored.astype(np.uint8 if bits == 8 else np.uint16)).save(path)
    extremes = read_image(path, SIDE, 1, Rendering(intensity="extremes"))[0]
    assert (extremes.min(), extremes.max()) == (0, 255)
    low, high = int(stored.min()) + 10, int(stored.max()) - 10
    fixed = read_image(path, SIDE, 1, Rendering(intensity="range", bounds=(low, high)))[0]
    wanted = np.rint(np.clip((stored - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(fixed, wanted)


def test_colours_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "colour.png"
    Image.fromarray(np.full((8, 8, 3), (90, 100, 110), np.uint8)).save(path)
    image = read_image(path, 8, 3, Rendering(intensity="extremes"))
    assert image[:, 0, 0].tolist() == [90, 100, 110]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """40 × 20, white, with a black stripe of a quarter at each side."""
    pixels = np.full((20, 40), 255, np.uint8)
    pixels[:, :10] = pixels[:, 30:] = 0
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_the_aspect_is_kept_by_bars_or_by_a_cut(wide: Path) -> None:
    pad = read_image(wide, 40, 1, Rendering(resize="pad"))[0]
    assert (pad[:10] == 0).all()
    assert (pad[30:] == 0).all()
    assert (pad[12:28, 12:28] == 255).all()
    assert pad[20].tolist() == np.asarray(Image.open(wide))[10].tolist()  # not squeezed
    assert (read_image(wide, 20, 1, Rendering(resize="crop"))[0] == 255).all()
    squeezed = read_image(wide, 20, 1)[0]
    assert squeezed[10, 2] == 0
    assert squeezed[10, 10] == 255


def test_a_very_long_image_still_has_a_pixel(tmp_path: Path) -> None:
    Image.new("L", (400, 2), 200).save(tmp_path / "thin.png")
    assert read_image(tmp_path / "thin.png", 16, 1, Rendering(resize="pad"))[0].max() == 200


def test_the_cache_tells_the_settings_apart(wide: Path, tmp_path: Path) -> None:
    manifest = Manifest(wide.parent, (wide.name,), ("P",), np.ones((1, 1), np.float32), ("a",), {})

    def mean(resize: str, **settings: object) -> float:
        rendering = rendering_of(SourceSettings(**settings))  # type: ignore[arg-type]
        task = TaskSettings(image_size=20, resize=resize)  # type: ignore[arg-type]
        folder = tmp_path / "cache"
        return float(decoded_images(manifest, task, folder, rendering=rendering).mean())

    assert mean("crop") == 255
    assert 100 < mean("stretch") < 150
    assert mean("pad") < 80
    dark = {"intensity": "range", "intensity_bounds": (0.0, 510.0)}
    assert mean("crop", **dark) == 128


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data.intensity=range"], "needs data.intensity_bounds"),
        (["data.intensity=range", "data.intensity_bounds=[5,1]"], "needs data.intensity_bounds"),
        (["data.intensity=percentile", "data.intensity_bounds=[1,101]"], "two percents"),
        (["data.intensity_bounds=[1,99]"], "takes no data.intensity_bounds"),
        (["data.view=-1"], "data.view"),
    ],
)
def test_settings_that_contradict_each_other_are_named(words: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(words)


def test_a_sites_settings_are_what_its_files_are_read_with() -> None:
    source = SourceSettings(
        intensity="percentile", intensity_bounds=(2.0, 98.0), frames="first", view=1
    )
    assert rendering_of(source) == Rendering("first", 1, "percentile", (2.0, 98.0))
