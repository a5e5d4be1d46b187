"""``data.frames=all``: a file of several frames is several images of one patient."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from client.cache import decoded_images
from common.config import SourceSettings, TaskSettings
from common.data.decoding.decode import Wanted, decode
from common.data.decoding.header import count_images
from common.data.decoding.limits import LIMITS
from common.data.decoding.process import Refusal
from common.data.images import rendering_of, try_read
from common.data.inspection import inspect_many
from common.data.layouts import read_manifest
from common.data.manifest import Manifest
from common.errors import DataError
from tests.common.malformed.base import dataset, written

TASK = TaskSettings(image_size=16)
FRAMES = {"emri_small_RLE.dcm": 10, "liver.dcm": 3, "pages.tif": 2, "one.dcm": 1, "one.png": 1}


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    """Five files of three patients: an enhanced MR, a segmentation, a TIFF, and two of one image.

    The files are pydicom's own, which are real.
    """
    for name in list(FRAMES)[:2]:
        shutil.copyfile(str(get_testdata_file(name, download=False)), tmp_path / name)
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 20)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    pages[1].save(tmp_path / "one.png")
    (tmp_path / "one.dcm").write_bytes(written(dataset()))
    rows = [f"{name},{'ab'[i % 2]},P{i % 3}" for i, name in enumerate(FRAMES)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file,label,patient", *rows]))
    return SourceSettings(
        root=str(tmp_path), image_column="file", patient_column="patient", frames="all"
    )


def manifest_of(source: SourceSettings) -> Manifest:
    return read_manifest(source, TASK, ("a", "b"))


def test_each_frame_is_a_row_with_its_files_patient_and_labels(source: SourceSettings) -> None:
    every = manifest_of(source)
    one = manifest_of(replace(source, frames="middle"))
    assert one.files == tuple(FRAMES)
    assert every.files[9:13] == (
        "emri_small_RLE.dcm#frame-9",
        *(f"liver.dcm#frame-{number}" for number in range(3)),
    )
    assert every.files[-2:] == ("one.dcm", "one.png")
    own = [row for row, count in enumerate(FRAMES.values()) for _ in range(count)]
    assert every.patients == tuple(one.patients[row] for row in own)
    np.testing.assert_array_equal(every.labels, one.labels[own])


def test_the_cache_holds_what_each_frame_shows(source: SourceSettings, tmp_path: Path) -> None:
    manifest, rendering = manifest_of(source), rendering_of(source)
    images = decoded_images(manifest, TASK, tmp_path / "cache", rendering=rendering)
    files = [(tmp_path / name).read_bytes() for name in FRAMES]
    shown = [decode(data, Wanted(16, 1, rendering), LIMITS) for data in files]
    assert [len(own) for own in shown] == list(FRAMES.values())
    np.testing.assert_array_equal(images, np.concatenate(shown))
    assert len(np.unique(images[:10], axis=0)) == 10


def test_without_patient_ids_the_file_is_the_unit_and_no_frame(source: SourceSettings) -> None:
    manifest = manifest_of(replace(source, patient_column=None))
    assert len(manifest) == sum(FRAMES.values())
    assert set(manifest.patients) == set(FRAMES)


def test_a_file_or_a_single_frame_can_be_left_out(source: SourceSettings) -> None:
    left_out = ("liver.dcm", "emri_small_RLE.dcm#frame-0", "pages.tif#frame-1")
    kept = manifest_of(replace(source, exclude=left_out)).files
    assert len(kept) == 12
    assert not any(name == file or name == f"{file}#frame-0" for name in kept for file in left_out)
    assert "pages.tif#frame-0" in kept


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
@pytest.mark.parametrize("claimed", [2, 10**6])
def test_a_file_that_lies_about_its_frames_is_one_row_that_is_refused(
    syntax: uid.UID, claimed: int, source: SourceSettings, tmp_path: Path
) -> None:
    made = dataset(syntax)
    made.NumberOfFrames = claimed
    (tmp_path / "one.dcm").write_bytes(written(made))
    assert "one.dcm" in manifest_of(source).files
    answer = try_read(tmp_path / "one.dcm", 16, 1, rendering_of(source))
    assert isinstance(answer, Refusal)
    assert "NumberOfFrames (0028,0008)" in answer.reason or "is shorter than" in answer.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("emri_small_RLE.dcm", r"NumberOfFrames \(0028,0008\) is over 1"), ("pages.tif", "1 pages")],
)
def test_frames_beyond_the_limit_are_refused(
    name: str, reason: str, source: SourceSettings, tmp_path: Path
) -> None:
    data, few = (tmp_path / name).read_bytes(), replace(LIMITS, frames=1)
    assert count_images(data, LIMITS) == FRAMES[name]
    with pytest.raises(DataError, match=reason):
        count_images(data, few)
    with pytest.raises(DataError, match=reason):
        decode(data, Wanted(16, 1, rendering_of(source)), few)


def test_a_changed_file_is_counted_again(source: SourceSettings, tmp_path: Path) -> None:
    assert len(manifest_of(source)) == 17
    (tmp_path / "pages.tif").write_bytes((tmp_path / "one.png").read_bytes())
    assert len(manifest_of(source)) == 16


def test_a_file_that_is_named_as_a_frame_is_refused(source: SourceSettings, tmp_path: Path) -> None:
    (tmp_path / "one.png").rename(tmp_path / "one.dcm#frame-0")
    table = (tmp_path / "metadata.csv").read_text().replace("one.png", "one.dcm#frame-0")
    (tmp_path / "metadata.csv").write_text(table)
    for frames in ("all", "middle"):
        with pytest.raises(DataError, match=r"1 files are named as images within a file"):
            manifest_of(replace(source, frames=frames))  # type: ignore[arg-type]


def test_the_gate_tells_frames_apart(source: SourceSettings, tmp_path: Path) -> None:
    manifest = manifest_of(source)
    found = inspect_many([tmp_path / file for file in manifest.files], rendering_of(source))
    assert not any(one.refused for one in found)
    assert len({one.digest for one in found}) == 16  # the second page is the PNG
    assert found[14].digest == found[16].digest
    assert [one.frames for one in found[9:11]] == [10, 3]
