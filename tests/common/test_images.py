"""PNG, JPEG, BMP and TIFF: 8 and 16 bits, kinds by content, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.dicom import Rendering
from common.data.images import read_image
from common.errors import DataError
from tests.common.malformed.base import dataset, written

RAMP = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "dcm", "1"])
def test_the_content_says_what_a_file_is(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image.{suffix}"
    kind = {"bmp": "BMP", "tif": "TIFF"}.get(suffix, "PNG")
    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(path, kind)
    np.testing.assert_array_equal(read_image(path, 64, 1)[0], RAMP >> 8)


def test_a_dicom_file_of_any_name_is_read(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.3.4", "image.png"):
        (tmp_path / name).write_bytes(written(dataset()))
        assert read_image(tmp_path / name, 16, 1).shape == (1, 16, 16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_keep_their_range(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(RAMP).save(path)
    np.testing.assert_allclose(read_image(path, 64, 1)[0], RAMP / 257, atol=1)


def test_a_jpeg_is_read_within_what_it_lost(tmp_path: Path) -> None:
    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(tmp_path / "image.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "image.jpg", 64, 1)[0], RAMP >> 8, atol=4)


def test_colours_and_greys(tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[..., 0] = 200
    Image.fromarray(colours).save(tmp_path / "red.png")
    assert read_image(tmp_path / "red.png", 8, 3)[:, 0, 0].tolist() == [200, 0, 0]
    assert read_image(tmp_path / "red.png", 8, 1)[0, 0, 0] == 60  # 0.299 R
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png", 8, 3)[:, 0, 0].tolist() == [200, 200, 200]


def test_the_pages_of_a_tiff(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 20, 30)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    every = Rendering(frames="all")
    names = [tmp_path / f"pages.tif#frame-{page}" for page in range(3)]
    assert [read_image(name, 8, 1, every)[0, 0, 0] for name in names] == [10, 20, 30]
    assert read_image(tmp_path / "pages.tif", 8, 1)[0, 0, 0] == 10


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.ones((8, 8), np.float32), "floats"),
        (np.full((8, 8), 2**20, np.int32), "more than 16 bits"),
    ],
)
def test_pixels_without_a_full_scale_are_refused(
    pixels: np.ndarray, reason: str, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / "image.tif")
    with pytest.raises(DataError, match=reason):
        read_image(tmp_path / "image.tif", 8, 1)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"text\.png.*neither a DICOM file nor"):
        read_image(path, 32, 1)


def test_other_formats_are_not_tried(tmp_path: Path) -> None:
    """Pillow starts Ghostscript for EPS, for one."""
    Image.new("RGB", (8, 8)).save(tmp_path / "image.gif")
    Image.new("RGB", (8, 8)).save(tmp_path / "image.eps")
    for name in ("image.gif", "image.eps"):
        with pytest.raises(DataError, match="neither"):
            read_image(tmp_path / name, 8, 1)
