"""The report: everything is counted, what stops training is said, and nothing identifies."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fedrounds
from client.gate import pages
from client.gate.pages import check_site
from client.gate.sheet import CAPTION, GAP, TILE, choose, draw
from client.pseudonyms import KEY_FILE
from client.site import Site
from common.data.manifest import Manifest
from tests.common.malformed.base import CANARY, dataset, pixels, written
from tests.conftest import changed, train_ids

MakeSite = Callable[..., Site]
Capture = pytest.CaptureFixture[str]
ONE, TWO, THREE = train_ids(3)


def report(capsys: Capture, *words: object, code: int = 0) -> dict[str, Any]:
    assert fedrounds.main(["data", *map(str, words), "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def data(site: Site) -> Path:
    return Path(str(site.settings.data.root))


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Two classes, and somebody in every part."""
    return make_site({ONE: 2, TWO: 1, THREE: 1, **{f"T{i}": 1 for i in range(30)}})


def test_a_sound_site_is_counted_and_can_train(site: Site, capsys: Capture) -> None:
    found = report(capsys, site.folder)
    assert found["trains"]
    assert found["problems"] == []
    assert found["files"] == {"found": 34, "read": 34}
    assert found["patients"] == {
        "count": 33,
        "images_a_patient": {"1": 32, "2": 1},
        "images_without_id": 0,
    }
    assert found["kinds"] == {"PNG": 34}
    assert found["sizes"] == {"16 × 16": 34}
    assert sum(sum(parts.values()) for parts in found["labels"].values()) == 34
    assert sum(part["units"] for part in found["parts"].values()) == 33
    assert set(found["labels"]) == {"a", "b"}


def test_what_only_the_site_sees_is_its_owners_alone(site: Site, capsys: Capture) -> None:
    assert fedrounds.main(["data", str(site.folder)]) == 0
    out = capsys.readouterr().out
    assert "no ε covers them" in out
    assert "training can start" in out
    for name in (pages.REPORT, pages.SHEET):
        assert stat.S_IMODE((site.folder / "pages" / name).stat().st_mode) == 0o600
    with Image.open(site.folder / "pages" / pages.SHEET) as sheet:
        assert sheet.height > 2 * 128
    assert stat.S_IMODE((site.folder / KEY_FILE).stat().st_mode) == 0o600


def test_a_refused_file_is_named_and_stops_nothing(site: Site, capsys: Capture) -> None:
    (data(site) / f"{ONE}_0.png").write_bytes(b"nothing")
    found = report(capsys, site.folder)
    assert [one["file"] for one in found["refused"]] == [f"{ONE}_0.png"]
    assert "neither a DICOM file" in found["refused"][0]["reason"]
    assert found["files"]["read"] == 33


def test_equal_images_are_told_by_kind_and_patients_by_pseudonym(
    site: Site, capsys: Capture
) -> None:
    image = (data(site) / f"{ONE}_0.png").read_bytes()
    (data(site) / f"{ONE}_1.png").write_bytes(image)
    (data(site) / "T0_0.png").write_bytes(image)
    found = report(capsys, site.folder)["duplicates"]
    (group,) = found["within_patient"]
    assert [one["file"] for one in group] == [f"{ONE}_0.png", f"{ONE}_1.png", "T0_0.png"]
    assert group in found["across_patients"]
    names = [one["patient"] for one in group]
    assert names[0] == names[1] != names[2]
    assert not {ONE, "T0"} & set(names)


def test_contradictions_stop_training_where_the_policy_says_so(site: Site, capsys: Capture) -> None:
    other = next(p for p in ("T0", "T1") if sum(p.encode()) % 2 != sum(ONE.encode()) % 2)
    (data(site) / f"{other}_0.png").write_bytes((data(site) / f"{ONE}_0.png").read_bytes())
    found = report(capsys, site.folder)
    assert len(found["duplicates"]["label_conflicts"]) == 1
    assert any("contradict each other" in line for line in found["notices"])
    changed(site, policy={"label_conflicts": "refuse"})
    found = report(capsys, site.folder, code=1)
    assert any("data.exclude" in line for line in found["problems"])


def test_placeholder_ids_stop_training_unless_they_are_left_out(
    make_site: MakeSite, capsys: Capture
) -> None:
    site = make_site({ONE: 2, TWO: 1, THREE: 1, "UNKNOWN": 1, "0": 2})
    found = report(capsys, site.folder, code=1)
    assert found["patients"]["images_without_id"] == 3
    assert any("3 images have no patient id" in line for line in found["problems"])
    changed(site, policy={"missing_patient": "exclude"})
    assert report(capsys, site.folder)["trains"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("file,label,patient\nP_0.png,,1\nQ_0.png,a,2\nQ_1.png,b,2\n", "1 images have no label"),
        ("file,label,patient\nP_0.png,a,1\nQ_0.png,a,2\n", "a classifier learns from two"),
        ("file,label,patient\nP_0.png,a,1\ngone.png,b,2\n", "1 images of the table are missing"),
        ("file,kind,patient\nP_0.png,a,1\n", "data.label_column names the column 'label'"),
    ],
)
def test_what_is_wrong_with_a_table_is_a_problem_and_no_end(
    table: str, problem: str, make_site: MakeSite, capsys: Capture
) -> None:
    site = make_site({"P": 1, "Q": 2})
    (data(site) / "metadata.csv").write_text(table)
    found = report(capsys, site.folder, code=1)
    assert any(problem in line for line in found["problems"]), found["problems"]
    assert found["files"]["found"] >= 2


def test_labels_outside_the_public_classes_are_told(site: Site, capsys: Capture) -> None:
    changed(site, policy={"classes": ["a", "malignant"]})
    found = report(capsys, site.folder)
    assert any("labels outside the public classes: b" in line for line in found["notices"])
    changed(site, policy={"classes": ["benign", "malignant"]})
    found = report(capsys, site.folder, code=1)
    assert any("complete data.label_map" in line for line in found["problems"])


def test_an_exclusion_that_names_no_file_is_told(site: Site, capsys: Capture) -> None:
    changed(site, data={"exclude": [f"{ONE}_0.png", f"{ONE}_9.png"]})
    found = report(capsys, site.folder)
    assert found["files"]["found"] == 33
    assert f"data.exclude names what is not there: {ONE}_9.png" in found["notices"]


def test_dicom_is_described_and_no_value_gets_out(
    tmp_path: Path, capsys: Capture, make_site: MakeSite
) -> None:
    site = make_site({ONE: 2, TWO: 2})
    for index, file in enumerate(sorted(data(site).glob("*.png"))):
        made = dataset(image=np.roll(pixels(16, 16), index))
        made.StationName, made.PatientAddress, made.AccessionNumber = (CANARY,) * 3
        made.PatientComments = f"see {CANARY}"
        made.Manufacturer = "Acme"
        made.BurnedInAnnotation = "YES" if index == 3 else "NO"
        data_set = written(made)
        if index == 2:  # of twelve bytes, as the canary
            data_set = data_set.replace(b"MONOCHROME2 ", CANARY.encode())
        file.write_bytes(data_set)
    for words in ([], ["--json"]):
        fedrounds.main(["data", str(site.folder), *words])
    printed = capsys.readouterr()
    assert CANARY not in printed.out + printed.err
    for path in site.folder.rglob("*"):
        assert CANARY not in path.name
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path
    found = json.loads((site.folder / "pages" / pages.REPORT).read_text())["report"]
    assert found["devices"] == [{"manufacturer": "Acme", "model": "", "images": 4, "stations": 1}]
    assert found["identifying_tags"]["AccessionNumber (0008,0050)"] == 4
    assert found["burned_in_annotation"] == {"NO": 3, "YES": 1}
    assert [one["reason"].split()[:2] for one in found["refused"]] == [
        ["PhotometricInterpretation", "(0028,0004)"],
        ["its", "BurnedInAnnotation"],
    ]
    assert found["photometric_interpretations"] == {"MONOCHROME2": 3, "other": 1}


def test_a_check_that_comes_again_reads_nothing_until_something_changes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = check_site(site)
    with monkeypatch.context() as patch:
        patch.setattr(pages, "check_images", lambda *_: pytest.fail("read again"))
        assert check_site(site) == first
    table = data(site) / "metadata.csv"
    table.write_text(table.read_text().replace(f",{TWO}\n", ",UNKNOWN\n"))
    assert check_site(site)["patients"]["images_without_id"] == 1
    (data(site) / f"{ONE}_0.png").write_bytes(b"nothing")
    assert len(check_site(site)["refused"]) == 1
    changed(site, policy={"missing_patient": "exclude"})
    monkeypatch.setattr(pages, "check_images", lambda *_: pytest.fail("read again"))
    with pytest.raises(pytest.fail.Exception):
        check_site(Site.open(site.folder))


def test_the_contact_sheet_shows_images_of_every_class_from_the_whole_table() -> None:
    labels = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    files = tuple(f"{row}.png" for row in range(100))
    manifest = Manifest(Path(), files, files, labels, ("a", "b"), {})
    (first, own), (second, others) = choose(manifest, range(1, 100))
    assert (first, second) == ("a: 49 images", "b: 50 images")
    assert len(set(own)) == len(set(others)) == 8
    assert min(own) == 1
    assert max(own) > 40
    assert set(others) <= set(range(50, 100))
    tiles = {own[2]: np.full((3, TILE, TILE), 200, np.uint8)}
    sheet = np.asarray(draw([(first, own)], tiles))
    assert (sheet[CAPTION + 5, 3 * GAP + 2 * TILE + 5] == 200).all()
    assert (sheet[CAPTION + 5, GAP + 5] != 200).any()
