"""Merged figures by group against scikit-learn's on the group's own images, for any split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import recall_score, roc_auc_score

from common.checks import parse_experiment
from common.config import Experiment
from common.evaluation import EvaluationSettings, Grouping
from common.metrics import Counts, Scored, count, count_replicates
from common.metrics.bootstrap import Replicates, draw_patients
from common.metrics.gaps import column_figures
from common.metrics.scores import log_odds
from common.metrics.values import MIN_POSITIVES
from common.subgroups import SiteGroups
from server.evaluation import pool_groups
from tests.client.scoring import CLASSES, K, experiment_of
from tests.common.metrics.images import single_label

SEX = Grouping(values=("F", "M"))
EXACT = {"abs": 1e-9, "rel": 1e-9}


@dataclass(frozen=True)
class Case:
    """Images at some sites, each in a group, of which some sites tell."""

    scored: Scored
    groups: NDArray[np.int64]
    counts: dict[str, Counts]
    told: dict[str, SiteGroups]
    shown: NDArray[np.bool_]


def experiment(multi_label: bool, replicates: int) -> Experiment:
    evaluation = EvaluationSettings(replicates=replicates, subgroups={"sex": SEX})
    asked = replace(experiment_of(multi_label), evaluation=evaluation)
    return parse_experiment(asked.to_yaml())  # as it comes over the wire


@st.composite
def cases(draw: st.DrawFn, multi_label: bool) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, sites = draw(st.integers(40, 300)), draw(st.integers(1, 8))
    if multi_label:
        labels = (rng.random((n, K)) < [0.5, 0.3, 0.1]).astype(np.float32)
        labels[rng.random((n, K)) < 0.1] = np.nan
    else:
        labels = np.eye(K, dtype=np.float32)[rng.choice(K, n, p=[0.6, 0.3, 0.1])]
    logits = rng.normal(0, 2, (n, K)) + np.nan_to_num(labels)
    scored = Scored(logits, labels, multi_label)
    groups = rng.choice(3, n, p=draw(st.sampled_from([[0.6, 0.4, 0.0], [0.5, 0.45, 0.05]])))
    place = rng.integers(0, sites, n)
    telling = set(range(sites)) if draw(st.booleans()) else {0}
    counts, told = {}, {}
    for site in range(sites):
        here = place == site
        own = scored.take(here)
        counts[str(site)] = count(own)
        parts = [
            count_replicates(own, np.asarray(groups[here] == g, np.int64)[None]) for g in range(3)
        ]
        packed = tuple(Replicates.pack(part, counts[str(site)]) for part in parts)
        told[str(site)] = SiteGroups({"sex": "shown"}, {"sex": packed} if site in telling else {})
    return Case(scored, groups, counts, told, np.isin(place, list(telling)))


def read(case: Case) -> dict[str, object]:
    asked = experiment(case.scored.multi_label, 0)
    return column_figures(pool_groups(case.counts, case.told, "sex", asked), CLASSES)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_group_has_the_figures_of_its_own_images(multi_label: bool) -> None:
    @settings(max_examples=12)
    @given(cases(multi_label))
    def check(case: Case) -> None:
        found = read(case)
        for place, name in enumerate(SEX.names):
            own = case.scored.take((case.groups == place) & case.shown)
            if np.isnan(own.labels).all():
                assert name in found["without_support"]  # type: ignore[operator]
                continue
            assert_group(own, found["groups"][name])  # type: ignore[index]

    check()


def assert_group(own: Scored, found: dict[str, dict[str, dict[str, object]]]) -> None:
    odds = log_odds(own.logits, own.multi_label)
    decided = odds >= 0 if own.multi_label else odds == odds.max(axis=1, keepdims=True)
    areas = []
    for k, name in enumerate(CLASSES):
        known = ~np.isnan(own.labels[:, k])
        truth, score = own.labels[known, k] == 1, odds[known, k]
        support = {"positives": int(truth.sum()), "negatives": int((~truth).sum())}
        assert found["auroc"][name]["support"] == support
        if truth.any():
            missed = 1 - recall_score(truth, decided[known, k])
            assert found["false_negative_rate"][name]["value"] == pytest.approx(missed, **EXACT)
        if truth.any() and not truth.all():
            areas.append(roc_auc_score(truth, score))
            off = found["bin_error"] or 0.0
            assert found["auroc"][name]["value"] == pytest.approx(areas[-1], abs=off + 1e-9)  # type: ignore[operator]
    if areas:
        off = found["bin_error"] or 0.0
        assert found["auroc_macro"]["value"] == pytest.approx(np.mean(areas), abs=off + 1e-9)  # type: ignore[operator]


@settings(max_examples=15)
@given(cases(multi_label=True))
def test_a_gap_is_of_the_groups_that_have_enough_images(case: Case) -> None:
    found = read(case)
    groups, gaps = found["groups"], found["gaps"]
    for name in CLASSES:
        gap = gaps["false_negative_rate"][name]  # type: ignore[index]
        compared = {
            group: one["false_negative_rate"][name]["value"]
            for group, one in groups.items()  # type: ignore[attr-defined]
            if min(one["auroc"][name]["support"].values()) >= MIN_POSITIVES
        }
        assert gap["support"]["groups"] == list(compared)
        if len(compared) < 2:
            assert gap["value"] is None
            continue
        values = list(compared.values())
        assert gap["value"] == pytest.approx(max(values) - min(values), **EXACT)
        if gap["value"]:
            difference = compared[gap["highest"]] - compared[gap["lowest"]]
            assert gap["value"] == pytest.approx(difference, **EXACT)


def test_a_group_that_one_site_has_is_exact_whoever_else_tells() -> None:
    scored = single_label(80)
    groups, place = np.repeat([0, 1], 40), np.repeat([0, 0, 1, 0], 20)
    counts, told = {}, {}
    for site in ("0", "1"):
        here = place == int(site)
        own, members = scored.take(here), groups[here]
        counts[site] = count(own)
        parts = [count_replicates(own, np.asarray(members == g, np.int64)[None]) for g in range(3)]
        packed = tuple(Replicates.pack(part, counts[site]) for part in parts)
        told[site] = SiteGroups({"sex": "shown"}, {"sex": packed})
    asked = experiment(False, 0)
    found = column_figures(pool_groups(counts, told, "sex", asked), CLASSES)["groups"]
    assert found["F"]["auprc_bin_error"] == 0
    assert found["M"]["auprc_bin_error"] > 0


DRAWS, PATIENTS, REPLICATES = 100, 160, 60
SHARES = {0: 0.4, 1: 1.2}
"""How far the scores of those with the class lie above the others', by group."""


def images_of(rng: np.random.Generator, patients: int) -> tuple[Scored, NDArray[np.int64]]:
    groups = rng.integers(0, 2, patients)
    sick = rng.random(patients) < 0.4
    odds = rng.normal(0, 1, patients) + np.where(groups == 0, SHARES[0], SHARES[1]) * sick
    labels = sick.astype(np.float32)
    return Scored(odds[:, None], labels[:, None], multi_label=True), groups


def gap_of(scored: Scored, groups: NDArray[np.int64], draws: NDArray[np.int64]) -> dict[str, float]:
    parts = [(str(g), count_replicates(scored, draws * (groups == g))) for g in range(2)]
    gap: dict[str, float] = column_figures(parts, ("a",))["gaps"]["auroc"]["a"]
    return gap


def test_the_interval_of_a_gap_covers_at_its_rate() -> None:
    rng = np.random.default_rng(0)
    scored, groups = images_of(rng, 60_000)
    true = gap_of(scored, groups, np.ones((1, 60_000), np.int64))
    assert (true["highest"], true["lowest"]) == ("1", "0")
    held = 0
    for number in range(DRAWS):
        scored, groups = images_of(rng, PATIENTS)
        drawn = draw_patients("key", str(number), PATIENTS, REPLICATES)
        gap = gap_of(scored, groups, np.concatenate([np.ones((1, PATIENTS), np.int64), drawn]))
        sign = 1 if gap["highest"] == "1" else -1
        held += gap["low"] <= sign * true["value"] <= gap["high"]
    assert 0.9 <= held / DRAWS <= 0.99
