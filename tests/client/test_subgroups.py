"""Counts by group of metadata: which cells leave, and what subtraction shows of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.cohort import Cohort
from client.evaluation import ExactRelease, evaluate
from client.policy import Policy
from client.site import Site, SiteSettings
from client.subgroups import GroupRelease, statuses
from client.withholding import few_by_group, few_patients, withhold
from common.config import Experiment, SourceSettings
from common.evaluation import EvaluationSettings, Grouping
from common.metrics import Counts
from tests.client.scoring import CLASSES, MULTI, SINGLE, K, Pixels, cohort_of, random_patients

SEX = Grouping(values=("F", "M"))
F, M, UNKNOWN = range(3)


def by_sex(experiment: Experiment) -> Experiment:
    evaluation = EvaluationSettings(replicates=20, subgroups={"sex": SEX})
    return replace(experiment, evaluation=evaluation)


def cells(table: Mapping[tuple[int, int], int], seed: int = 0) -> Cohort:
    """``table[group, k]`` patients of class k, each with two images."""
    patients = [
        (group, patient)
        for (group, k), number in table.items()
        for patient in random_patients({k: number}, seed + 10 * group + k)
    ]
    cohort = cohort_of(*(patient for _, patient in patients))
    groups = np.concatenate([[UNKNOWN], *([group] * len(patient) for group, patient in patients)])
    return replace(cohort, groups={"sex": groups.astype(np.int64)})


def released(
    cohort: Cohort, experiment: Experiment, min_count: int, draw: tuple[str, str] | None = None
) -> ExactRelease:
    release = evaluate(Pixels(), cohort, by_sex(experiment), min_count, draw=draw, columns=("sex",))
    assert release is not None
    return release


def positives(group: GroupRelease) -> list[int]:
    counted: list[int] = group.draws.take(0).positives.sum(axis=1).tolist()
    return counted


def test_without_a_minimum_the_groups_are_all_images() -> None:
    cohort = cells({(F, 0): 5, (M, 0): 3, (F, 1): 2, (M, 2): 4, (UNKNOWN, 2): 1})
    for experiment in (SINGLE, MULTI):
        release = released(cohort, experiment, 0)
        groups = release.groups["sex"]
        assert [group.name for group in groups] == ["F", "M", "unknown"]
        assert [positives(group) for group in groups] == [[10, 4, 0], [6, 0, 8], [0, 0, 2]]
        for name in ("positives", "negatives", "confusion", "confidence", "losses", "reliability"):
            parts = sum(getattr(group.draws.take(0), name) for group in groups)
            np.testing.assert_allclose(parts, getattr(release.counts, name), err_msg=name)


def test_a_cell_of_few_patients_is_gone_from_its_group_alone() -> None:
    cohort = cells({(F, 0): 12, (M, 0): 15, (F, 1): 11, (M, 1): 13, (F, 2): 6, (M, 2): 7})
    f, m, unknown = released(cohort, SINGLE, 10).groups["sex"]
    assert positives(f) == [24, 22, 0]
    assert positives(m) == [30, 26, 0]
    assert f.draws.take(0).negatives.sum(axis=1).tolist() == [22, 24, 0]
    assert f.draws.take(0).confusion.sum(axis=1).tolist() == [24, 22, 0]
    assert (f.withheld, unknown.withheld) == (("scar",), CLASSES)
    assert unknown.draws.take(0).labels == 0


def test_a_class_goes_from_every_group_where_subtraction_would_show_a_few() -> None:
    """All 33 scars less the 30 of group M would leave the three of group F."""
    cohort = cells({(F, 0): 12, (M, 0): 15, (F, 1): 11, (M, 1): 13, (F, 2): 3, (M, 2): 30})
    release = released(cohort, SINGLE, 10)
    assert release.withheld == ()
    for group in release.groups["sex"]:
        assert "scar" in group.withheld
        assert positives(group)[2] == 0
    # Ten or more in the cells that are withheld, or none at all, hide nobody.
    for others in ({(F, 2): 6, (UNKNOWN, 2): 5}, {}):
        enough = cells({(F, 0): 12, (M, 0): 15, (M, 2): 30, **others})
        assert positives(released(enough, SINGLE, 10).groups["sex"][M])[2] == 60


def test_a_few_without_a_class_count_as_a_few_where_labels_are_many() -> None:
    """Three patients of group F, none of whom has the class: who has it not is a label as well."""
    cohort = cells({(M, 0): 12, (M, 1): 14, (F, 1): 3})
    groups = released(cohort, MULTI, 10).groups["sex"]
    assert [positives(group)[:2] for group in groups] == [[0, 0], [0, 0], [0, 0]]
    cohort = cells({(M, 0): 12, (M, 1): 14})
    assert positives(released(cohort, MULTI, 10).groups["sex"][M])[:2] == [24, 28]


@st.composite
def tables(draw: st.DrawFn) -> Cohort:
    """Patients of three groups and classes, some of whom have images of two, or unknown labels."""
    sizes = st.sampled_from([0, 1, 2, 3, 4, 9])
    cohort = cells({(g, k): draw(sizes) for g in range(3) for k in range(K)})
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups, labels = cohort.groups["sex"].copy(), cohort.labels.copy()
    moved = np.flatnonzero(rng.random(len(groups)) < draw(st.sampled_from([0.0, 0.2])))
    groups[moved] = rng.integers(0, 3, len(moved))
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    return replace(cohort, groups={"sex": groups}, labels=labels)


@settings(max_examples=60)
@given(tables(), st.sampled_from([0, 1, 3, 5]), st.booleans())
def test_no_cell_and_no_difference_is_of_few_patients(
    cohort: Cohort, min_count: int, multi_label: bool
) -> None:
    """Counted patient by patient, in what is shown and in what subtraction leaves."""
    kept = withhold(cohort, few_patients(cohort, multi_label, min_count), multi_label)
    groups = kept.groups["sex"]
    few = few_by_group(kept, groups, 3, multi_label, min_count)
    for k in range(K):
        for side in (1, 0) if multi_label else (1,):
            held = [
                {int(groups[row]) for row in rows if kept.labels[row, k] == side}
                for rows in kept.patients
            ]
            hidden = {group for group in range(3) if few[group, k]}
            left = sum(bool(of_patient & hidden) for of_patient in held)
            assert left == 0 or left >= min_count
            for shown in {0, 1, 2} - hidden:
                assert sum(shown in of_patient for of_patient in held) >= min_count


@pytest.mark.parametrize("few", [1, 4, 9])
def test_how_many_are_withheld_changes_no_byte_of_the_groups(few: int) -> None:
    """Whether one patient is in the cell or as many as may be withheld, the groups are the same."""
    table = {(F, 0): 12, (M, 0): 15, (F, 1): 11, (M, 1): 13, (M, 2): 30}
    one = released(cells(table | {(F, 2): 1}), SINGLE, 10, draw=None)
    same = released(cells(table | {(F, 2): few}), SINGLE, 10, draw=None)
    for group, other in zip(one.groups["sex"], same.groups["sex"], strict=True):
        assert_same(group.draws, other.draws)


def assert_same(one: Counts, other: Counts) -> None:
    for name, value in one.to_arrays().items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_a_replicate_of_a_group_is_its_part_of_the_replicate_of_all() -> None:
    cohort = cells({(F, 0): 5, (M, 0): 3, (F, 1): 2, (M, 2): 4, (UNKNOWN, 2): 1})
    release = released(cohort, SINGLE, 0, draw=("key", "site test"))
    assert release.replicates is not None
    everyone = release.replicates.expand(release.counts)
    parts: NDArray[np.int64] = sum(g.draws.positives[1:] for g in release.groups["sex"])  # type: ignore[assignment]
    assert (parts == everyone.positives).all()
    assert len(release.groups["sex"][F].draws.sites) == 21


def test_every_figure_of_a_group_is_named_and_so_is_what_is_withheld() -> None:
    cohort = cells({(F, 0): 12, (M, 0): 15, (F, 1): 11, (M, 1): 13, (F, 2): 3, (M, 2): 30})
    release = released(cohort, SINGLE, 10, draw=("key", "site test"))
    names = release.names(CLASSES)
    assert "positives of scar by score" in names
    assert "positives of cyst by score, of sex F" in names
    assert not any("scar" in name and "sex" in name for name in names)
    assert not any("unknown" in name for name in names)
    assert names[-1].endswith("Brier score, and of those of each group")
    assert release.withheld_names()[:2] == ["scar of sex F", "scar of sex M"]


@pytest.mark.parametrize(
    ("allowed", "columns", "status"),
    [
        ({"sex": SEX}, ("age", "sex"), "shown"),
        ({"sex": SEX}, ("age",), "absent"),
        ({}, ("sex",), "withheld"),
        ({"age": SEX}, ("sex",), "withheld"),
        ({"sex": Grouping(values=("F",))}, ("sex",), "withheld"),
        ({"sex": Grouping(values=("M", "F"))}, ("sex",), "withheld"),
    ],
)
def test_a_site_counts_by_what_its_policy_has_divided_just_so(
    allowed: dict[str, Grouping], columns: tuple[str, ...], status: str
) -> None:
    data = SourceSettings(root="x", metadata_columns=columns)
    site = Site(Path(), SiteSettings("clinic", data, Policy("exact", subgroups=allowed)))
    assert statuses(site, {"sex": SEX}) == {"sex": status}


@pytest.mark.parametrize("released_as", ["none", "noised"])
def test_only_exact_counts_are_told_by_group(released_as: str) -> None:
    policy = replace(Policy("exact"), release_metrics=released_as, subgroups={"sex": SEX})  # type: ignore[arg-type]
    assert any("policy.subgroups with release_metrics" in line for line in policy.problems())
    assert not any("subgroups" in line for line in replace(policy, subgroups={}).problems())


def test_a_policys_groups_are_checked() -> None:
    (line,) = Policy("exact", subgroups={"age": Grouping(bands=(60, 40))}).problems()
    assert line.startswith("policy.subgroups.age: expected rising bands")
