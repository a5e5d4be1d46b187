"""What is fitted on validation patients: thresholds, temperature, conformal sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from common.evaluation import EvaluationSettings
from common.metrics import OperatingPoint, Scored, count, figures
from common.metrics.calibration import (
    conformal_edge,
    conformal_sets,
    fit_temperature,
    selective_accuracy,
)
from common.metrics.counts import TEMPERATURES
from common.metrics.grid import BINS, edge_score, score_bins
from common.metrics.scores import log_odds, log_softmax
from common.metrics.thresholds import edge_of_sensitivity, edge_of_specificity
from tests.common.metrics.images import CLASSES, multi_label, single_label

cells = st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 20), min_size=1, max_size=8)


@settings(deadline=None)
@given(cells, st.floats(0.01, 0.99))
def test_thresholds_keep_what_is_wanted_and_the_next_edge_does_not(
    filled: dict[int, int], wanted: float
) -> None:
    counts = np.zeros(BINS, np.int64)
    counts[list(filled)] = list(filled.values())
    total = counts.sum()
    low, high = edge_of_specificity(counts, wanted), edge_of_sensitivity(counts, wanted)
    assert low is not None
    assert high is not None
    assert counts[:low].sum() / total >= wanted - 1e-9
    assert low == 0 or counts[: low - 1].sum() / total < wanted
    assert counts[high:].sum() / total >= wanted - 1e-9
    assert high == BINS or counts[high + 1 :].sum() / total < wanted


def test_a_class_without_support_has_no_threshold() -> None:
    scored = single_label(200)
    kept = scored.take(scored.labels[:, 2] == 0)
    point = OperatingPoint.fit(count(kept), EvaluationSettings())
    assert point.at_sensitivity[2] is None
    assert point.at_specificity[2] is not None
    values = figures(count(scored), CLASSES, point=point)["at_sensitivity"]
    assert values["sensitivity"]["c"]["value"] is None
    assert values["sensitivity"]["a"]["value"] is not None
    assert point.to_json(CLASSES)["thresholds"]["c"]["at_sensitivity"] is None


@pytest.mark.parametrize("scored", [single_label(3000, 1), multi_label(3000, 1)])
def test_rates_at_the_thresholds_are_those_of_the_scores(scored: Scored) -> None:
    classes = CLASSES if not scored.multi_label else ("x", "y")
    fitted = count(scored.take(np.arange(1500)))
    test = scored.take(np.arange(1500, 3000))
    point = OperatingPoint.fit(fitted, EvaluationSettings(specificity=0.8, sensitivity=0.7))
    values = figures(count(test), classes, point=point)
    odds = log_odds(test.logits, test.multi_label)
    for k, name in enumerate(classes):
        for at, edges in (
            ("at_specificity", point.at_specificity),
            ("at_sensitivity", point.at_sensitivity),
        ):
            threshold = edge_score(edges[k] or 0)
            called = 1 / (1 + np.exp(-odds[:, k])) >= threshold
            found = called[test.labels[:, k] == 1].mean()
            left = (~called)[test.labels[:, k] == 0].mean()
            assert values[at]["sensitivity"][name]["value"] == pytest.approx(found)
            assert values[at]["specificity"][name]["value"] == pytest.approx(left)
            wanted = left if at == "at_specificity" else found
            assert wanted == pytest.approx(0.8 if at == "at_specificity" else 0.7, abs=0.1)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.3])
def test_the_temperature_is_the_one_of_least_log_loss(factor: float) -> None:
    scored = single_label(2000, seed=2)
    logits = scored.logits * factor

    def loss(log_t: float) -> float:
        log_p = log_softmax(logits / np.exp(log_t))
        return -float(log_p[np.arange(2000), scored.truth].sum())

    best = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    found = fit_temperature(count(Scored(logits, scored.labels, multi_label=False)).temperatures)
    assert found == pytest.approx(best, rel=0.005)


def test_a_temperature_beyond_the_grid_is_its_end() -> None:
    scored = single_label(500, seed=2)
    cold = count(Scored(scored.logits * 100, scored.labels, multi_label=False))
    assert fit_temperature(cold.temperatures) == TEMPERATURES[-1]


def test_scaling_by_the_temperature_calibrates() -> None:
    bold = single_label(4000, seed=3)
    bold = Scored(bold.logits * 3, bold.labels, multi_label=False)
    point = OperatingPoint.fit(count(bold.take(np.arange(2000))), EvaluationSettings())
    test = bold.take(np.arange(2000, 4000))
    test = Scored(test.logits, test.labels, multi_label=False, temperature=point.temperature)
    values = figures(count(test), CLASSES, point=point)
    assert values["calibrated"]["temperature"] == point.temperature
    for name in ("log_loss", "brier", "ece"):
        assert values["calibrated"][name]["value"] < values[name]["value"]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("wanted", [0.8, 0.95])
def test_conformal_sets_hold_the_truth_as_often_as_wanted(several: bool, wanted: float) -> None:
    """Over 80 draws the mean coverage is at least what was asked, and little more."""
    make = multi_label if several else single_label
    found = []
    for seed in range(80):
        scored = make(300, seed)
        fitted = count(scored.take(np.arange(150)))
        point = OperatingPoint.fit(fitted, EvaluationSettings(coverage=wanted))
        assert point.conformal is not None
        found.append(conformal_sets(count(scored.take(np.arange(150, 300))), point.conformal)[0])
    assert wanted - 0.01 < np.mean(found) < wanted + 0.02


@pytest.mark.parametrize("scored", [single_label(500, 4), multi_label(500, 4)])
def test_conformal_sets_are_those_of_the_scores(scored: Scored) -> None:
    counts, edge = count(scored), 1840
    odds, threshold = log_odds(scored.logits, scored.multi_label), -16 + 32 * edge / BINS
    if scored.multi_label:
        known = ~np.isnan(scored.labels)
        yes, no = odds[known], -odds[known]
        truth = np.where(scored.labels[known] == 1, yes, no)
        size = (yes >= threshold).astype(int) + (no >= threshold)
    else:
        truth = odds[np.arange(500), scored.truth]
        size = (odds >= threshold).sum(axis=1)
    held, mean_size = conformal_sets(counts, edge)
    assert held == pytest.approx((truth >= threshold).mean())
    assert mean_size == pytest.approx(size.mean())


@pytest.mark.parametrize(("wanted", "rank"), [(0.9, 1), (0.8, 3), (0.5, 7)])
def test_the_conformal_threshold_is_the_score_of_that_rank(wanted: float, rank: int) -> None:
    """Of 14 scores the ⌊15 (1 − coverage)⌋-th smallest."""
    logits = np.linspace(-3, 3, 14)[:, None]
    counts = count(Scored(logits, np.ones((14, 1), np.float32), multi_label=True))
    edge = conformal_edge(counts, wanted)
    assert edge == score_bins(np.sort(logits.ravel())[[rank - 1]])[0]


def test_too_few_images_allow_no_conformal_set() -> None:
    point = OperatingPoint.fit(count(single_label(8)), EvaluationSettings(coverage=0.9))
    assert point.conformal is None
    assert "conformal" not in figures(count(single_label(8)), CLASSES, point=point)


@pytest.mark.parametrize("scored", [single_label(500, 5), multi_label(500, 5)])
def test_accuracy_rises_as_the_model_may_abstain(scored: Scored) -> None:
    counts = count(scored)
    curve = figures(counts, CLASSES if not scored.multi_label else ("x", "y"))["abstention"]
    assert curve[-1]["coverage"] == 1.0
    assert curve[-1]["accuracy"]["support"] == counts.labels
    assert curve[0]["accuracy"]["value"] > curve[-1]["accuracy"]["value"]
    odds = log_odds(scored.logits, scored.multi_label)
    certain = np.abs(odds) if scored.multi_label else odds.max(axis=1)
    decided = (odds >= 0) if scored.multi_label else odds.argmax(axis=1)
    truth = scored.labels if scored.multi_label else scored.truth
    known = ~np.isnan(scored.labels) if scored.multi_label else np.ones(500, bool)
    chosen = certain[known] >= -16 + 32 * 2240 / BINS
    share, accuracy = selective_accuracy(counts)
    assert share[2240] == pytest.approx(chosen.mean())
    assert accuracy[2240] == pytest.approx((decided == truth)[known][chosen].mean())
