"""Merged figures against scikit-learn's on the concatenated scores, for any split into sites."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    recall_score,
    roc_auc_score,
)
from sklearn.metrics import log_loss as sk_log_loss

from common.metrics import Counts, Scored, count, figures
from common.metrics.counts import TEMPERATURES
from common.metrics.scores import log_odds, log_softmax

K = 3
CLASSES = ("a", "b", "c")
EXACT = 1e-9
CUT = 20.0
"""scikit-learn cuts a loss at 36, and long before that 1 − p has lost its digits to rounding."""


@st.composite
def scored_images(draw: st.DrawFn, multi_label: bool) -> Scored:
    """Scores that crowd, tie and spread, of 60 to 400 images."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, spread = draw(st.integers(60, 400)), draw(st.sampled_from([0.02, 1.5, 8.0]))
    step = draw(st.sampled_from([0.0, 0.001, 0.5]))  # of scores that are equal to each other
    if multi_label:
        labels = (rng.random((n, K)) < [0.5, 0.3, 0.1]).astype(np.float32)
        labels[rng.random((n, K)) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
        labels[:2] = [[0.0] * K, [1.0] * K]
    else:
        labels = np.eye(K, dtype=np.float32)[rng.choice(K, n, p=[0.6, 0.3, 0.1])]
        labels[:K] = np.eye(K)
    logits = spread * (rng.normal(0, 1, (n, K)) + np.nan_to_num(labels))
    return Scored(np.round(logits / step) * step if step else logits, labels, multi_label)


@st.composite
def split(draw: st.DrawFn, multi_label: bool) -> tuple[Scored, list[Counts]]:
    """Scored images, and their counts at 1 to 20 sites."""
    scored = draw(scored_images(multi_label))
    sites = draw(st.integers(1, 20))
    place = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, sites, len(scored))
    return scored, [count(scored.take(place == site)) for site in range(sites)]


def known_of(scored: Scored, k: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Truth and score of class k where it is known."""
    known = ~np.isnan(scored.labels[:, k])
    odds = log_odds(scored.logits, scored.multi_label)[known, k]
    return scored.labels[known, k] == 1, odds


def assert_rankings(scored: Scored, sites: list[Counts]) -> None:
    values = figures(reduce(add, sites), CLASSES)
    one = len(sites) == 1
    assert not one or (values["bin_error"], values["auprc_bin_error"]) == (0, 0)
    everything = [known_of(scored, k) for k in range(K)]
    expected = {}
    for k, name in enumerate(CLASSES):
        truth, odds = everything[k]
        expected[name] = roc_auc_score(truth, odds), average_precision_score(truth, odds)
        for found, of in zip((values["auroc"], values["auprc"]), expected[name], strict=True):
            bound = values["bin_error" if found is values["auroc"] else "auprc_bin_error"]
            assert found[name]["value"] == pytest.approx(of, abs=bound + EXACT)
    truth, odds = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    for name, measure in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        bound = values["bin_error" if name == "auroc" else "auprc_bin_error"] + EXACT
        assert values[f"{name}_micro"]["value"] == pytest.approx(measure(truth, odds), abs=bound)
        macro = np.mean([expected[c][name == "auprc"] for c in CLASSES])
        assert values[f"{name}_macro"]["value"] == pytest.approx(macro, abs=bound)


@settings(max_examples=30)
@given(split(multi_label=False))
def test_merged_rankings_of_one_label(case: tuple[Scored, list[Counts]]) -> None:
    assert_rankings(*case)


@settings(max_examples=30)
@given(split(multi_label=True))
def test_merged_rankings_of_several_labels(case: tuple[Scored, list[Counts]]) -> None:
    assert_rankings(*case)


@settings(max_examples=30)
@given(split(multi_label=False))
def test_merged_decisions_and_losses_of_one_label(case: tuple[Scored, list[Counts]]) -> None:
    scored, sites = case
    values = figures(reduce(add, sites), CLASSES)
    p, truth, decided = np.exp(log_softmax(scored.logits)), scored.truth, scored.logits.argmax(1)
    # where logits tie, log-odds may differ by a rounding: the decision is that of the log-odds
    decided = log_odds(scored.logits, multi_label=False).argmax(axis=1)
    close = {"abs": EXACT, "rel": EXACT}
    assert values["accuracy"]["value"] == pytest.approx(accuracy_score(truth, decided), **close)
    balanced = balanced_accuracy_score(truth, decided)
    assert values["balanced_accuracy"]["value"] == pytest.approx(balanced, **close)
    recall = recall_score(truth, decided, average=None)
    f1 = f1_score(truth, decided, average=None)
    for k, name in enumerate(CLASSES):
        assert values["sensitivity"][name]["value"] == pytest.approx(recall[k], **close)
        left = recall_score(truth != k, decided != k)
        assert values["specificity"][name]["value"] == pytest.approx(left, **close)
        assert values["f1"][name]["value"] == pytest.approx(f1[k], **close)
    assert values["f1_macro"]["value"] == pytest.approx(f1.mean(), **close)
    if len(set(decided)) > 1:
        matthews = matthews_corrcoef(truth, decided)
        assert values["mcc"]["value"] == pytest.approx(matthews, **close)
    losses = -special.log_softmax(scored.logits, axis=1)[np.arange(len(truth)), truth]
    assert values["log_loss"]["value"] == pytest.approx(losses.mean(), **close)
    if losses.max() < CUT:
        assert values["log_loss"]["value"] == pytest.approx(sk_log_loss(truth, p), rel=1e-6)
    brier = ((p - scored.labels) ** 2).sum(axis=1).mean()
    assert values["brier"]["value"] == pytest.approx(brier, **close)
    right = decided == truth
    assert values["ece"]["value"] == pytest.approx(slow_ece(p.max(axis=1), right), **close)
    assert (np.array(values["confusion"]).sum(), values["mcc"]["support"]) == (len(p), len(p))


@settings(max_examples=30)
@given(split(multi_label=True))
def test_merged_decisions_and_losses_of_several_labels(
    case: tuple[Scored, list[Counts]],
) -> None:
    scored, sites = case
    values = figures(reduce(add, sites), CLASSES)
    close = {"abs": EXACT, "rel": EXACT}
    recalls, matthews, every = [], [], []
    for k, name in enumerate(CLASSES):
        truth, odds = known_of(scored, k)
        decided, p = odds >= 0, 1 / (1 + np.exp(-odds))
        found, left = recall_score(truth, decided), recall_score(~truth, ~decided)
        assert values["sensitivity"][name]["value"] == pytest.approx(found, **close)
        assert values["specificity"][name]["value"] == pytest.approx(left, **close)
        assert values["f1"][name]["value"] == pytest.approx(f1_score(truth, decided), **close)
        recalls += [found, left]
        matthews.append(
            matthews_corrcoef(truth, decided) if 0 < decided.sum() < len(odds) else np.nan
        )
        every.append((truth, odds, p, decided))
    truth, odds, p, decided = (np.concatenate(parts) for parts in zip(*every, strict=True))
    assert values["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls), **close)
    if not np.isnan(matthews).any():
        assert values["mcc"]["value"] == pytest.approx(np.mean(matthews), **close)
    brier = ((p - truth) ** 2).mean()
    assert values["brier"]["value"] == pytest.approx(brier, **close)
    losses = np.logaddexp(0, np.where(truth, -odds, odds))
    assert values["log_loss"]["value"] == pytest.approx(losses.mean(), **close)
    if np.abs(odds).max() < CUT:
        assert values["log_loss"]["value"] == pytest.approx(sk_log_loss(truth, p), rel=1e-6)
    assert values["ece"]["value"] == pytest.approx(slow_ece(p, truth), **close)
    assert values["accuracy"]["value"] == pytest.approx((truth == decided).mean(), **close)


@settings(max_examples=30)
@given(split(multi_label=False), st.integers(0, len(TEMPERATURES) - 1))
def test_the_losses_at_a_temperature_are_those_of_scaled_logits(
    case: tuple[Scored, list[Counts]], index: int
) -> None:
    scored, sites = case
    temperature = float(TEMPERATURES[index])
    scaled = Scored(scored.logits / temperature, scored.labels, multi_label=False)
    plain = figures(count(scaled), CLASSES)
    asked = count(Scored(scored.logits, scored.labels, multi_label=False, temperature=temperature))
    assert asked.losses[1] == pytest.approx(count(scaled).losses[0])
    assert asked.reliability[1] == pytest.approx(count(scaled).reliability[0])
    summed = reduce(add, sites).temperatures[index] / len(scored)
    assert summed == pytest.approx(plain["log_loss"]["value"])


def slow_ece(p: NDArray[np.float64], came_true: NDArray[np.bool_]) -> float:
    """Bin by bin, in plain Python."""
    total = 0.0
    for b in range(15):
        inside = [i for i, v in enumerate(p) if min(math.floor(v * 15), 14) == b]
        if inside:
            total += abs(sum(came_true[i] for i in inside) - sum(p[i] for i in inside))
    return total / len(p)
