"""What the gate learns of a file: kind, size, device, names of what identifies, and its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from common.data.decoding.inspection import digest, inspect
from common.data.decoding.limits import LIMITS
from common.data.images import STRETCHED
from common.data.inspection import inspect_many
from common.errors import DataError
from tests.common.malformed.base import CANARY, COMPRESSED, dataset, written


def grey(value: int = 0) -> Image.Image:
    levels = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    return Image.fromarray(levels + np.uint8(value))


def test_a_dicom_file_is_described_without_a_value_that_identifies(tmp_path: Path) -> None:
    made = dataset()
    made.Manufacturer, made.ManufacturerModelName = "Acme", "Ray 1"
    made.BurnedInAnnotation, made.PatientIdentityRemoved = "NO", "YES"
    (tmp_path / "a.dcm").write_bytes(written(made))
    (found,) = inspect_many([tmp_path / "a.dcm"], STRETCHED)
    assert (found.kind, found.size, found.colour) == ("DICOM", (16, 16), "MONOCHROME2")
    assert found.syntax == "Explicit VR Little Endian"
    assert (found.manufacturer, found.model) == ("Acme", "Ray 1")
    assert (found.burned_in, found.removed, found.refused) == ("NO", "YES", "")
    assert found.identifying == (
        "InstitutionName (0008,0080)",
        "PatientID (0010,0020)",
        "PatientName (0010,0010)",
        "StudyDescription (0008,1030)",
    )
    assert found.patient == CANARY  # kept in memory: the report turns it into a count


def test_equal_pixels_have_one_digest_whatever_the_file(tmp_path: Path) -> None:
    image = grey()
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.bmp")
    image.save(tmp_path / "c.tiff")
    image.convert("RGB").save(tmp_path / "d.png", pnginfo=None, compress_level=1)
    grey(1).save(tmp_path / "e.png")
    image.crop((0, 0, 30, 80)).save(tmp_path / "f.png")
    names = ["a.png", "b.bmp", "c.tiff", "d.png", "e.png", "f.png"]
    found = inspect_many([tmp_path / name for name in names], STRETCHED)
    digests = [one.digest for one in found]
    assert len(set(digests[:4])) == 1
    assert len(set(digests)) == 3
    assert [one.kind for one in found[:4]] == ["PNG", "BMP", "TIFF", "PNG"]
    assert found[0].size == (60, 40)
    assert digest(image) == digests[0]


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_a_lossless_encoding_changes_no_digest(syntax: uid.UID, tmp_path: Path) -> None:
    paths = [tmp_path / "native.dcm", tmp_path / "compressed.dcm"]
    paths[0].write_bytes(written(dataset()))
    paths[1].write_bytes(written(dataset(syntax)))
    first, second = inspect_many(paths, STRETCHED)
    assert first.digest == second.digest != ""


def test_a_large_jpeg_is_read_at_full_size(tmp_path: Path) -> None:
    grey().resize((1200, 800)).save(tmp_path / "a.jpg")
    assert inspect_many([tmp_path / "a.jpg"], STRETCHED)[0].size == (1200, 800)


def test_what_cannot_be_read_is_told_and_its_header_too(tmp_path: Path) -> None:
    made = dataset()
    del made.PixelData
    (tmp_path / "a.dcm").write_bytes(written(made))
    (tmp_path / "b.dcm").write_bytes(b"nothing")
    without, nothing, gone = inspect_many([tmp_path / f"{n}.dcm" for n in "abc"], STRETCHED)
    assert "it has no pixels" in without.refused
    assert without.colour == "MONOCHROME2"
    assert without.digest == ""
    assert "neither a DICOM file nor" in nothing.refused
    assert "cannot be opened" in gone.refused


def test_images_in_an_npz_are_inspected_too(tmp_path: Path) -> None:
    images = np.stack([np.asarray(grey()), np.asarray(grey(1)), np.asarray(grey())])
    np.savez(tmp_path / "x.npz", train_images=images)
    places = [tmp_path / f"x.npz#train_images-{i}" for i in (0, 1, 2, 3)]
    found = inspect_many(places, STRETCHED)
    assert found[0].digest == found[2].digest == digest(grey())
    assert found[0].digest != found[1].digest
    assert found[0].size == (60, 40)
    assert "does not hold it" in found[3].refused


def test_no_value_stands_in_an_error() -> None:
    made = dataset()
    made.NumberOfFrames = "1"
    data = bytearray(written(made))
    at = data.index(b"1 ", data.index(b"\x28\x00\x08\x00"))
    data[at : at + 2] = b"zz"
    with pytest.raises(DataError) as caught:
        inspect(bytes(data), STRETCHED, LIMITS)
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__
