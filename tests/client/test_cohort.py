"""What a site trains on: unreadable images, repeats and images without an id are left out, each
by a rule on itself or its own patient alone; what that is, the site's own log says."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.cohort import Cohort
from client.gate.notes import notes
from client.init import begin_ledger
from client.pseudonyms import KEY_FILE, Pseudonyms
from client.site import Site
from client.site_images import SiteImages
from common.config import Experiment
from common.errors import DataError, LedgerError, SettingsError
from tests.common.malformed.base import CANARY, dataset, pixels, written
from tests.conftest import changed, train_ids

MakeSite = Callable[..., Site]
ONE, TWO, THREE = train_ids(3)


def root(site: Site) -> Path:
    return Path(str(site.settings.data.root))


def files(site: Site, cohort: Cohort, experiment: Experiment) -> list[str]:
    names = site.manifest(experiment).files
    return [names[row] for row in cohort.rows]


def test_a_file_that_cannot_be_read_is_named_and_the_others_train(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2, TWO: 1})
    (root(site) / f"{ONE}_0.png").write_bytes((root(site) / f"{ONE}_0.png").read_bytes()[:40])
    for _ in range(2):  # said once, not with every message
        cohort = Cohort.load(site, experiment, "train")
        assert files(site, cohort, experiment) == [f"{ONE}_1.png", f"{TWO}_0.png"]
        assert [len(rows) for rows in cohort.patients] == [1, 1]
    (line,) = notes(site.folder)
    assert "images that are refused: 1" in line
    assert f"{ONE}_0.png: it is damaged" in line


def test_leaving_it_out_leaves_everybody_else_as_they_are(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2, TWO: 1, THREE: 2})
    before = Cohort.load(site, experiment, "train")
    kept = [before.images[rows].copy() for rows in before.patients[1:]]
    for index in range(2):
        (root(site) / f"{sorted([ONE, TWO, THREE])[0]}_{index}.png").write_bytes(b"nothing")
    after = Cohort.load(site, experiment, "train")
    for own, rows in zip(kept, after.patients, strict=True):
        np.testing.assert_array_equal(own, after.images[rows])


def test_a_header_that_cannot_be_read_is_left_out_where_headers_say_whose_it_is(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2, TWO: 1})
    for index, path in enumerate(sorted(root(site).glob("*.png"))):
        made = dataset(image=np.roll(pixels(16, 16), index))
        made.PatientID, made.StudyDescription = (ONE, TWO)[index % 2], "ab"[index % 2]
        path.write_bytes(written(made)[: 150 if index == 2 else None])
    (root(site) / "metadata.csv").unlink()
    columns = {"label_column": "StudyDescription", "patient_column": "PatientID"}
    site = changed(site, data={"layout": "dicom", **columns})
    assert len(Cohort.load(site, experiment, "train").rows) == 2
    (line,) = notes(site.folder)
    assert "images that are refused: 1" in line
    assert "truncated" in line


def test_where_nothing_can_be_read_nothing_trains(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2})
    for index in range(2):
        (root(site) / f"{ONE}_{index}.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="and so of all 2 images"):
        Cohort.load(site, experiment, "train")


def test_a_repeated_image_counts_once_within_a_patient_and_stays_across(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 3, TWO: 1})
    image = (root(site) / f"{ONE}_0.png").read_bytes()
    for copy in (f"{ONE}_2.png", f"{TWO}_0.png"):
        (root(site) / copy).write_bytes(image)
    cohort = Cohort.load(site, experiment, "train")
    assert files(site, cohort, experiment) == [f"{ONE}_0.png", f"{ONE}_1.png", f"{TWO}_0.png"]
    assert sorted(len(rows) for rows in cohort.patients) == [1, 2]


def test_frames_are_images_of_one_patient_and_equal_ones_count_once(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 1, TWO: 2})
    pages = [Image.fromarray((pixels() // 32 + i % 3).astype(np.uint8)) for i in range(4)]
    pages[0].save(root(site) / f"{ONE}_0.png", "TIFF", save_all=True, append_images=pages[1:])
    assert [len(p) for p in Cohort.load(site, experiment, "train").patients] == [1, 2]
    cohort = Cohort.load(changed(site, data={"frames": "all"}), experiment, "train")
    assert [len(rows) for rows in cohort.patients] == [3, 2]
    assert (np.diff(cohort.images[cohort.patients[0]].mean(axis=(1, 2, 3))) > 0).all()


def test_equal_images_with_other_labels_are_told_and_refused_on_demand(
    make_site: MakeSite, experiment: Experiment
) -> None:
    other = next(p for p in train_ids(9) if sum(p.encode()) % 2 != sum(ONE.encode()) % 2)
    site = make_site({ONE: 1, other: 1})
    (root(site) / f"{other}_0.png").write_bytes((root(site) / f"{ONE}_0.png").read_bytes())
    SiteImages.load(site, experiment).note_duplicates()
    (line,) = notes(site.folder)
    assert "1 whose labels contradict each other" in line
    assert f"{ONE}_0.png = {other}_0.png" in line
    assert len(Cohort.load(site, experiment, "train").rows) == 2
    strict = changed(site, policy={"label_conflicts": "refuse"})
    with pytest.raises(DataError, match=r"contradict each other.*data\.exclude"):
        Cohort.load(strict, experiment, "train")
    assert len(Cohort.load(strict, experiment, "test").rows) == 0  # evaluation goes on


def test_images_without_an_id_follow_the_policy(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2, "ANON": 2, "0": 1})
    with pytest.raises(DataError, match="3 of 5 images have no patient id"):
        Cohort.load(site, experiment, "train")
    excluding = changed(site, policy={"missing_patient": "exclude"})
    cohort = Cohort.load(excluding, experiment, "train")
    assert files(excluding, cohort, experiment) == [f"{ONE}_0.png", f"{ONE}_1.png"]
    alone = changed(site, data={"patient_column": None})  # the unit is the image: no ids to lack
    assert len(alone.manifest(experiment)) == 5


def test_an_image_that_says_it_shows_text_is_left_out_unless_allowed(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2})
    for index, flag in enumerate(("YES", "NO")):
        made = dataset(image=np.roll(pixels(16, 16), index))
        made.BurnedInAnnotation = flag
        (root(site) / f"{ONE}_{index}.png").write_bytes(written(made))
    assert files(site, Cohort.load(site, experiment, "train"), experiment) == [f"{ONE}_1.png"]
    (line,) = notes(site.folder)
    assert "BurnedInAnnotation (0028,0301) is YES" in line
    assert CANARY not in line
    allowing = changed(site, policy={"burned_in_annotation": "allow"})
    assert len(Cohort.load(allowing, experiment, "train").rows) == 2


def test_the_list_of_exclusions_is_fixed_with_the_ledger(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({ONE: 2, TWO: 1})
    later = changed(site, data={"exclude": [f"{ONE}_1.png"]})
    with pytest.raises(
        LedgerError, match=r"exclude in site.yaml is another than when it was begun"
    ):
        later.ledger().read()
    same = changed(site, data={"exclude": []})
    same.ledger().read()


def test_its_order_is_no_matter(make_site: MakeSite) -> None:
    site = make_site({ONE: 2, TWO: 1})
    both = [f"{ONE}_1.png", f"{TWO}_0.png"]
    site = changed(site, data={"exclude": both})
    (site.folder / "ledger.sqlite").unlink()
    (site.folder / "ledger.head").unlink()
    (site.folder / "site.key").unlink()
    genesis = begin_ledger(site)
    site = changed(site, data={"exclude": both[::-1]})
    path = site.folder / "site.yaml"
    path.write_text(path.read_text().replace(str(site.settings.genesis), genesis))
    Site.open(site.folder).ledger().read()


def test_pseudonyms_are_keyed_and_the_key_is_the_owners_alone(tmp_path: Path) -> None:
    first = Pseudonyms.of_site(tmp_path)
    key = tmp_path / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert first("Jane") == Pseudonyms.of_site(tmp_path)("Jane") != first("Joe")
    assert first("Jane") != Pseudonyms.passing()("Jane")
    assert "Jane" not in json.dumps([first("Jane"), key.read_text()])
    key.write_text("lost")
    with pytest.raises(SettingsError, match="expected 64 hexadecimal digits"):
        Pseudonyms.of_site(tmp_path)
