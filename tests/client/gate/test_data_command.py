"""``fedrounds data``: any folder, a first site.yaml, words and exit codes; and real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fedrounds
from client.gate.guess import guess_layout
from client.site import Site
from tests.common.malformed.base import CANARY, dataset, pixels, written

Capture = pytest.CaptureFixture[str]


def grey(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


def a_class(root: Path) -> None:
    for number in range(12):
        grey(root / ("cat" if number % 2 else "dog") / f"{number}.png", number)


def a_table(root: Path) -> None:
    rows = ["image_id,Diagnosis,subject_id,Age"]
    for number in range(12):
        grey(root / "images" / f"i{number}.png", number)
        rows.append(f"i{number},{['J18.9', 'Z00'][number % 2]},S{number},{30 + number}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def tables(root: Path) -> None:
    for name in ("north", "south"):
        a_table(root / name)


def patients(root: Path) -> None:
    for number in range(12):
        grey(root / ("cat" if number % 2 else "dog") / f"P{number % 4}" / f"{number}.png", number)


def headers(root: Path) -> None:
    root.mkdir(parents=True)
    for number in range(3):
        made = dataset(image=np.roll(pixels(), number))
        made.Modality = "CR"
        (root / f"{number}.dcm").write_bytes(written(made))


def arrays(root: Path) -> None:
    root.mkdir(parents=True)
    parts = {}
    for part in ("train", "val", "test"):
        parts[f"{part}_images"] = np.random.default_rng(len(part)).integers(
            0, 255, (6, 8, 8), dtype=np.uint8
        )
        parts[f"{part}_labels"] = np.arange(6, dtype=np.uint8)[:, None] % 2
    np.savez(root / "any.npz", **parts)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (a_class, {"layout": "folder", "image_pattern": "{label}/{name}", "unit_name": "image"}),
        (
            a_table,
            {
                "layout": "table",
                "table": "labels.csv",
                "image_pattern": "images/{image_id}.png",
                "label_column": "Diagnosis",
                "patient_column": "subject_id",
                "metadata_columns": ("Age",),
            },
        ),
        (tables, {"table": "*/labels.csv", "patient_column": "subject_id"}),
        (patients, {"image_pattern": "{label}/{patient}/{name}", "patient_column": "patient"}),
        (headers, {"layout": "dicom", "patient_column": "PatientID"}),
        (arrays, {"layout": "medmnist", "table": "any.npz"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_layout_is_guessed_and_its_site_yaml_can_be_checked(
    make: Callable[[Path], None], expected: dict[str, Any], tmp_path: Path, capsys: Capture
) -> None:
    make(tmp_path / "images")
    folder = tmp_path / "site"
    assert fedrounds.main(["data", str(tmp_path / "images"), "--init", str(folder)]) == 0
    assert "complete it" in capsys.readouterr().out
    source = Site.open(folder).settings.data
    for name, value in expected.items():
        assert getattr(source, name) == value
    code = fedrounds.main(["data", str(folder), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["files"]["found"] == found["files"]["read"] > 0
    assert code == (1 if make is headers else 0), found["problems"]
    assert CANARY not in (folder / "site.yaml").read_text()


def test_a_first_site_yaml_lists_the_sites_labels_to_translate(tmp_path: Path) -> None:
    a_table(tmp_path)
    assert fedrounds.main(["data", str(tmp_path), "--init"]) == 0
    site = Site.open(tmp_path)
    assert site.settings.data.label_map == {"J18.9": "J18.9", "Z00": "Z00"}
    assert site.settings.policy.release_metrics == "none"
    assert site.settings.policy.public_patients is None


def test_it_never_overwrites(tmp_path: Path, capsys: Capture) -> None:
    a_class(tmp_path)
    (tmp_path / "site.yaml").write_text("mine")
    assert fedrounds.main(["data", str(tmp_path), "--init"]) == 2
    assert (tmp_path / "site.yaml").read_text() == "mine"
    assert "not overwritten" in capsys.readouterr().err


def test_nothing_fits_is_said(tmp_path: Path, capsys: Capture) -> None:
    grey(tmp_path / "a.png", 1)
    grey(tmp_path / "deep" / "b.png", 2)
    assert guess_layout(tmp_path) is None
    assert fedrounds.main(["data", str(tmp_path), "--init"]) == 2
    assert "expected a table" in capsys.readouterr().err


def test_a_folder_of_which_nothing_is_known_is_checked_all_the_same(
    tmp_path: Path, capsys: Capture
) -> None:
    headers(tmp_path / "images")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert fedrounds.main(["data", str(tmp_path / "images"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == {"found": 3, "read": 3}
    assert found["patients"]["images_a_patient"] == {"3": 1}
    assert any("no labels are known" in line for line in found["problems"])
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "0.dcm", "1.dcm", "2.dcm", "notes.txt",
    ]  # fmt: skip


def test_settings_say_how_a_folder_is_laid_out(tmp_path: Path, capsys: Capture) -> None:
    a_table(tmp_path / "images")
    words = [
        "data.table=labels.csv", "data.image_pattern=images/{image_id}.png",
        "data.label_column=Diagnosis", f"output_dir={tmp_path / 'out'}",
    ]  # fmt: skip
    assert fedrounds.main(["data", str(tmp_path / "images"), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unit"] == "image"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "contact-sheet.png", "data.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected 'data PATH"),
        (["{gone}"], "expected a folder of images"),
        (["{empty}"], "expected images, and there is no DICOM"),
        (["{empty}", "--jsn"], "expected 'data PATH"),
        (["{empty}", "{empty}"], "expected 'data PATH"),
        (["{empty}", "data.labl_column=x"], "did you mean"),
        (["{empty}", "--init", "data.label_column=x"], "takes no settings"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_was_expected(
    words: list[str], expected: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"gone": tmp_path / "gone", "empty": tmp_path / "empty"}
    assert fedrounds.main(["data", *(word.format(**places) for word in words)]) == 2
    assert expected in capsys.readouterr().err


def test_a_site_says_all_in_its_site_yaml(make_site: Callable[..., Site], capsys: Capture) -> None:
    site = make_site({"P1": 1})
    assert fedrounds.main(["data", str(site.folder), "data.label_column=x"]) == 2
    assert "change it there" in capsys.readouterr().err


def test_busi_has_one_contradiction(real_images: Path, capsys: Capture) -> None:
    assert fedrounds.main(["data", str(real_images / "busi"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == {"found": 780, "read": 780}
    (group,) = found["duplicates"]["label_conflicts"]
    assert [(one["file"], one["labels"]) for one in group] == [
        ("benign/benign (433).png", ["benign"]),
        ("malignant/malignant (145).png", ["malignant"]),
    ]
