"""The table reader: labels, columns, sites, and every refusal by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.config import SourceSettings, TaskSettings
from common.data.layouts import read_manifest
from common.errors import DataError

SINGLE = TaskSettings(channels=1)
MULTI = TaskSettings(channels=1, multi_label=True, negative_label="No Finding")
CLASSES = ("benign", "malignant")


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c", "d"):
        Image.new("L", (16, 16), 100).save(tmp_path / "images" / f"{name}.png")
    write(tmp_path, "a,benign,P1,x", "b,malignant,P2,x", "c,benign,P1,y", "d,malignant,P3,y")
    return SourceSettings(
        root=str(tmp_path),
        image_pattern="images/{id}.png",
        label_column="label",
        patient_column="patient",
        metadata_columns=("site",),
    )


def write(folder: Path, *rows: str, header: str = "id,label,patient,site") -> None:
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def refusal(source: SourceSettings, task: TaskSettings = SINGLE) -> str:
    with pytest.raises(DataError) as caught:
        read_manifest(source, task, CLASSES)
    return str(caught.value)


def test_rows_become_a_manifest(source: SourceSettings) -> None:
    manifest = read_manifest(source, SINGLE, CLASSES)
    assert manifest.files[0] == "images/a.png"
    assert manifest.patients == ("P1", "P2", "P1", "P3")
    assert manifest.labels.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert manifest.metadata["site"] == ("x", "x", "y", "y")
    assert [rows.tolist() for rows in manifest.rows_by_patient().values()] == [[0, 2], [1], [3]]


def test_a_site_column_selects_rows(source: SourceSettings) -> None:
    mine = replace(source, site_column="site", site_value="y")
    assert read_manifest(mine, SINGLE, CLASSES).patients == ("P1", "P3")


def test_excluded_images_are_left_out(source: SourceSettings) -> None:
    kept = read_manifest(replace(source, exclude=("images/a.png",)), SINGLE, CLASSES)
    assert "images/a.png" not in kept.files
    assert len(kept) == 3


def test_a_site_translates_its_own_labels(source: SourceSettings, tmp_path: Path) -> None:
    write(tmp_path, "a,D22,P1,x", "b,C43,P2,x")
    mapped = replace(source, label_map={"D22": "benign", "C43": "malignant"})
    assert read_manifest(mapped, SINGLE, CLASSES).labels.tolist() == [[1, 0], [0, 1]]


def test_several_labels_and_none_of_them(source: SourceSettings, tmp_path: Path) -> None:
    write(tmp_path, "a,benign|malignant,P1,x", "b,No Finding,P2,x", "c,malignant,P3,x")
    several = replace(source, label_separator="|")
    labels = read_manifest(several, MULTI, CLASSES).labels
    assert labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert labels.dtype == np.float32


def test_a_blank_cell_is_not_healthy_and_healthy_excludes_the_rest(
    source: SourceSettings, tmp_path: Path
) -> None:
    several = replace(source, label_separator="|")
    write(tmp_path, "a,benign,P1,x", "b,,P2,x", "c,No Finding|malignant,P3,x")
    text = refusal(several, MULTI)
    assert "1 rows have no label" in text
    assert "beside another label" in text


def test_an_image_without_a_patient_column_is_its_own_unit(source: SourceSettings) -> None:
    manifest = read_manifest(replace(source, patient_column=None), SINGLE, CLASSES)
    assert len(set(manifest.patients)) == len(manifest)


def test_an_unknown_label_is_refused_by_name(source: SourceSettings, tmp_path: Path) -> None:
    write(tmp_path, "a,benigne,P1,x", "b,malignant,P2,x")
    text = refusal(source)
    assert "'benigne' (1 rows)" in text
    assert "did you mean 'benign'" in text
    assert "label_map" in text


def test_every_unknown_column_is_named(source: SourceSettings) -> None:
    text = refusal(replace(source, label_column="labels", patient_column="person"))
    assert "'labels'" in text
    assert "did you mean 'label'" in text
    assert "'person'" in text


def test_a_missing_folder_is_named(source: SourceSettings, tmp_path: Path) -> None:
    assert str(tmp_path / "no") in refusal(replace(source, root=str(tmp_path / "no")))


def test_a_missing_table_is_named(source: SourceSettings) -> None:
    assert "other.csv" in refusal(replace(source, table="other.csv"))


def test_a_missing_image_is_named(source: SourceSettings, tmp_path: Path) -> None:
    (tmp_path / "images" / "b.png").unlink()
    assert "b.png" in refusal(source)


def test_a_path_out_of_the_root_is_refused(source: SourceSettings, tmp_path: Path) -> None:
    write(tmp_path, "../../etc/passwd,benign,P1,x")
    assert "outside" in refusal(source)


def test_a_table_that_is_no_text_is_unreadable(source: SourceSettings, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes(b"id,label,patient,site\n\xff\xfe\x00,b,c,d\n")
    assert "cannot be read" in refusal(source)


def test_a_row_of_another_length_is_refused(source: SourceSettings, tmp_path: Path) -> None:
    write(tmp_path, "a,benign,P1,x", "b,malignant")
    assert "row 2" in refusal(source)


def test_no_rows_left_is_an_error(source: SourceSettings) -> None:
    assert "no rows" in refusal(replace(source, site_column="site", site_value="z"))


def test_an_empty_patient_id_is_never_one_image_a_patient(
    source: SourceSettings, tmp_path: Path
) -> None:
    write(tmp_path, "a,benign,,x", "b,malignant,P2,x", "c,benign, ,x")
    patients = read_manifest(source, SINGLE, CLASSES).patients
    assert patients == ("", "P2", "")  # common/data/identity.py refuses them or leaves them out
