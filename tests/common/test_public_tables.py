"""Small data sets in the formats of public ones, read with the settings of ``conf/data``."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.compose import load_settings
from common.config import DataSettings
from common.data.labels import is_multi_label
from common.data.layouts import read_manifest, read_records
from common.data.manifest import Manifest
from common.data.split import rows_of_part
from common.errors import DataError
from simulations.division import find_sources
from tests.common.malformed.base import dataset, written


def settings_of(name: str, root: Path, *words: str) -> DataSettings:
    return load_settings([f"data={name}", f"data.root={root}", "privacy=none", *words]).data


def manifest_of(data: DataSettings) -> Manifest:
    assert data.classes is not None
    return read_manifest(data, data, data.classes)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 90).save(path)


CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


@pytest.fixture
def chexpert(tmp_path: Path) -> Path:
    release = "CheXpert-v1.0-small"
    views = [
        "patient00001/study1/view1_frontal.jpg",
        "patient00002/study1/view1_frontal.jpg",
        "patient00002/study2/view1_lateral.jpg",
    ]
    for view in views:
        image(tmp_path / release / "train" / view)
    write(
        tmp_path / release / "train.csv",
        CHEXPERT,
        f"{release}/train/{views[0]},Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
        f"{release}/train/{views[1]},Male,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
        f"{release}/train/{views[2]},Male,87,Lateral,,,,,1.0,,,-1.0,,,,1.0,,,",
    )
    return tmp_path


def test_chexperts_patient_stands_in_the_path_and_its_uncertain_labels_are_masked(
    chexpert: Path,
) -> None:
    data = settings_of("chexpert", chexpert)
    manifest = manifest_of(data)
    assert is_multi_label(data, data)
    assert manifest.patients == ("patient00001", "patient00002", "patient00002")
    column = {name: manifest.labels[:, k].tolist() for k, name in enumerate(manifest.classes)}
    assert column["Support Devices"] == [1, 0, 0]
    assert np.isnan(column["Cardiomegaly"][1])
    assert column["Cardiomegaly"][::2] == [0, 0]  # blank: not mentioned
    assert column["Lung Opacity"] == [0, 1, 1]


@pytest.mark.parametrize(("policy", "value"), [("ones", 1.0), ("zeros", 0.0)])
def test_uncertain_labels_are_what_the_setting_says(
    policy: str, value: float, chexpert: Path
) -> None:
    manifest = manifest_of(settings_of("chexpert", chexpert, f"data.uncertain_labels={policy}"))
    assert manifest.labels[1, manifest.classes.index("Cardiomegaly")] == value
    assert not np.isnan(manifest.labels).any()


def test_blank_labels_may_be_unknown(chexpert: Path) -> None:
    manifest = manifest_of(settings_of("chexpert", chexpert, "data.blank_labels=ignore"))
    assert np.isnan(manifest.labels[0]).sum() == len(manifest.classes) - 2


@pytest.mark.parametrize("setting", ["uncertain_labels", "blank_labels"])
def test_nothing_is_guessed_unless_it_is_asked_for(setting: str, chexpert: Path) -> None:
    data = settings_of("chexpert", chexpert, f"data.{setting}=refuse")
    with pytest.raises(DataError, match=f"rows.*data.{setting} says what that means"):
        manifest_of(data)


def test_a_cell_that_is_no_label_is_named(chexpert: Path) -> None:
    table = chexpert / "CheXpert-v1.0-small" / "train.csv"
    table.write_text(
        table.read_text(encoding="utf-8").replace(",1.0\n", ",yes\n"), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"'Support Devices'.*got 'yes' \(1 rows\)"):
        manifest_of(settings_of("chexpert", chexpert))


def test_a_path_that_does_not_fit_the_pattern_is_named(chexpert: Path) -> None:
    data = replace(settings_of("chexpert", chexpert), image_pattern="{patient}/{view}")
    with pytest.raises(DataError, match=r"expected paths as \{patient\}/\{view\}, got CheXpert"):
        manifest_of(data)


def test_a_class_without_a_column_is_unknown_and_two_columns_may_be_one_class(
    chexpert: Path,
) -> None:
    data = replace(
        settings_of("chexpert", chexpert),
        label_columns=("Lung Opacity", "Cardiomegaly"),
        label_map={"Cardiomegaly": "any", "Lung Opacity": "any"},
        classes=("any", "Fracture"),
        blank_labels="ignore",
    )
    labels = read_manifest(data, data, ("any", "Fracture")).labels
    assert labels[1:, 0].tolist() == [1, 1]  # one of the two is 1, the other unknown
    assert np.isnan(labels[0, 0])
    assert np.isnan(labels[:, 1]).all()


def test_a_column_that_is_no_class_is_named(chexpert: Path) -> None:
    data = replace(settings_of("chexpert", chexpert), label_columns=("Edema", "No Finding"))
    with pytest.raises(DataError, match=r"'No Finding' is not in data\.classes"):
        manifest_of(data)


def test_mimics_labels_of_a_study_are_joined_to_its_images(tmp_path: Path) -> None:
    write(
        tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns",
        "02aa804e-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544",
        "174413ec-2,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544",
        "2a2277a9-3,10000764,53189527,CHEST (PA),PA,3056,2544",
    )
    names = CHEXPERT.split(",")[5:]
    names[0], names[-1] = "No Finding", "Support Devices"
    write(
        tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz",
        "subject_id,study_id," + ",".join(names),
        "10000032,50414267,,,1.0,,,,,,-1.0,,,,,",  # the other study has no labels
    )
    folder = tmp_path / "files" / "p10" / "p10000032" / "s50414267"
    image(folder / "02aa804e-1.jpg")
    image(folder / "174413ec-2.jpg")
    manifest = manifest_of(settings_of("mimic_cxr", tmp_path))
    assert manifest.files[0] == "files/p10/p10000032/s50414267/02aa804e-1.jpg"
    assert manifest.patients == ("10000032", "10000032")
    assert manifest.labels[:, manifest.classes.index("Cardiomegaly")].tolist() == [1, 1]
    assert np.isnan(manifest.labels[:, manifest.classes.index("Atelectasis")]).all()
    assert manifest.metadata["ViewPosition"] == ("PA", "LATERAL")


def test_isics_centres_are_sites_and_its_split_is_by_lesion(tmp_path: Path) -> None:
    names = [f"ISIC_{i:07}" for i in range(12)]
    metadata, split = [], []
    for i, name in enumerate(names):
        image(tmp_path / "ISIC_2019_Training_Input" / f"{name}.jpg")
        metadata.append(f"{name},55.0,anterior torso,{f'BCN_{i // 3:07}'},female")
        onehot = ",".join("1.0" if k == i % 8 else "0.0" for k in range(9))
        fold = "train" if i % 2 else "test"  # FLamby's: a lesion's images on both sides
        split.append(f"{name},{onehot},{i % 8},{i // 6},{fold},{fold}_{i // 6}")
    metadata.append("ISIC_0099999,50.0,,,male")  # without a lesion id, so not in FLamby's table
    write(
        tmp_path / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        *metadata,
    )
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,target,center,fold,fold2"
    write(tmp_path / "train_test_split", header, *split)
    data = settings_of("isic2019", tmp_path)
    sites = find_sources(data)
    assert sorted(sites) == ["0", "1"]
    manifest = manifest_of(data)
    assert len(manifest) == 12
    assert manifest.labels.argmax(axis=1).tolist() == [i % 8 for i in range(12)]
    sides = [
        {manifest.patients[row] for row in rows_of_part(manifest.patients, part, "k", 0.4, 0.0)}
        for part in ("train", "test")
    ]
    assert not sides[0] & sides[1]


def test_labels_with_one_column_a_class_can_be_single(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    write(tmp_path / "metadata.csv", "image,MEL,NV", "a,1.0,0.0", "b,0.0,1.0")
    words = ["data.image_pattern='{image}.jpg'", "data.label_columns=[MEL,NV]"]
    words += ["data.multi_label=false", "data.classes=[MEL,NV]"]
    data = settings_of("table", tmp_path, *words)
    assert manifest_of(data).labels.tolist() == [[1, 0], [0, 1]]
    write(tmp_path / "metadata.csv", "image,MEL,NV", "a,1.0,1.0", "b,0.0,0.0")
    with pytest.raises(DataError, match="2 rows have none or several"):
        manifest_of(data)


@pytest.fixture
def rsna(tmp_path: Path) -> Path:
    for name in ("0004cfab", "000924cf"):
        path = tmp_path / "stage_2_train_images" / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written(dataset()))
    write(
        tmp_path / "stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        "0004cfab,264.0,152.0,213.0,379.0,1",
        "0004cfab,562.0,152.0,256.0,453.0,1",
        "000924cf,,,,,0",
    )
    return tmp_path


def test_rsnas_boxes_become_one_image(rsna: Path) -> None:
    manifest = manifest_of(settings_of("rsna_pneumonia", rsna))
    assert len(manifest) == 2
    assert manifest.labels.tolist() == [[0, 1], [1, 0]]
    assert manifest.patients == manifest.files  # the unit is the image


def test_rows_of_one_image_that_contradict_each_other_are_refused(rsna: Path) -> None:
    table = rsna / "stage_2_train_labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("453.0,1", "453.0,0"))
    with pytest.raises(DataError, match=r"1 rows say .*Target; the first is of .*0004cfab"):
        manifest_of(settings_of("rsna_pneumonia", rsna))


def test_nihs_findings_are_several_an_image(tmp_path: Path) -> None:
    for name in ("00000001_000.png", "00000001_001.png", "00000002_000.png"):
        image(tmp_path / "images" / name)
    write(
        tmp_path / "Data_Entry_2017_v2020.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]",
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
        "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143",
        "00000002_000.png,No Finding,0,2,80,M,PA,2500,2048,0.171,0.171",
    )
    data = settings_of("nih_cxr", tmp_path, "data.table=Data_Entry_2017_v2020.csv")
    manifest = manifest_of(data)
    assert manifest.patients == ("1", "1", "2")
    assert manifest.labels.sum(axis=1).tolist() == [1, 2, 0]
    assert manifest.metadata["Patient Age"] == ("57", "58", "80")


def test_tables_of_several_folders_are_one_pool(tmp_path: Path) -> None:
    for site in ("north", "south"):
        image(tmp_path / site / "images" / "1.jpg")
        write(tmp_path / site / "metadata.csv", "file,label,patient", "images/1.jpg,a,P1")
    words = ["data.image_column=file", "data.patient_column=patient", "data.classes=[a,b]"]
    data = settings_of("table", tmp_path, *words, "data.table='*/metadata.csv'")
    manifest = manifest_of(data)
    assert manifest.files == ("north/images/1.jpg", "south/images/1.jpg")
    assert manifest.patients == ("P1", "P1")
    kept = replace(data, exclude=("south/images/1.jpg",))
    assert [record.file for record in read_records(kept)] == ["north/images/1.jpg"]


def test_a_join_without_a_common_column_or_with_two_partners_is_refused(tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    write(tmp_path / "metadata.csv", "id,label", "1,a")
    write(tmp_path / "more.csv", "other,age", "1,60")
    words = ["data.image_pattern='{id}.jpg'", "data.join_tables=[more.csv]", "data.classes=[a,b]"]
    data = settings_of("table", tmp_path, *words)
    with pytest.raises(DataError, match="no column in common"):
        manifest_of(data)
    write(tmp_path / "more.csv", "id,age", "1,60", "1,61")
    with pytest.raises(DataError, match="expected one row for each id"):
        manifest_of(data)
