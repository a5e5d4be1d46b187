"""Counts against scikit-learn on the same scores; merging; support."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from sklearn.metrics import log_loss as sk_log_loss

from common.errors import MessageError
from common.metrics import BINS, Counts, auroc, count, figures

CLASSES = ("a", "b", "c")


def scored(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Logits and one-hot labels that agree somewhat."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    labels = np.eye(3, dtype=np.float32)[truth]
    return rng.normal(0, 1.5, (n, 3)) + 1.2 * labels, labels


def counts_of(logits: NDArray[np.float64], labels: NDArray[np.float32]) -> Counts:
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return count(log_p - np.log1p(-np.exp(log_p)), log_p, labels, multi_label=False)


def test_pooled_figures_equal_scikit_learns() -> None:
    logits, labels = scored(900)
    parts = [counts_of(logits[i::7], labels[i::7]) for i in range(7)]
    pooled = sum(parts[1:], parts[0])
    values = figures(pooled, CLASSES)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for k, name in enumerate(CLASSES):
        exact = roc_auc_score(labels[:, k], p[:, k])
        assert values["auroc"][name]["value"] == pytest.approx(exact, abs=values["bin_error"])
        precision = average_precision_score(labels[:, k], p[:, k])
        assert values["auprc"][name]["value"] == pytest.approx(precision, abs=5e-3)
    truth, predicted = labels.argmax(axis=1), p.argmax(axis=1)
    balanced = balanced_accuracy_score(truth, predicted)
    assert values["balanced_accuracy"]["value"] == pytest.approx(balanced)
    assert values["log_loss"]["value"] == pytest.approx(sk_log_loss(truth, p))
    assert np.array(values["confusion"]).sum() == 900


def test_the_order_and_number_of_sites_does_not_matter() -> None:
    logits, labels = scored(200)
    whole = counts_of(logits, labels)
    parts = [counts_of(logits[a:b], labels[a:b]) for a, b in ((150, 200), (0, 20), (20, 150))]
    merged = sum(parts[1:], parts[0])
    assert (merged.positives == whole.positives).all()
    assert (merged.confusion == whole.confusion).all()


def test_the_grids_error_is_bounded_and_small() -> None:
    logits, labels = scored(2000)
    assert 0 < figures(counts_of(logits, labels), CLASSES)["bin_error"] < 1e-3


def test_a_class_without_positives_is_null_and_left_out_by_name() -> None:
    logits, labels = scored(300)
    keep = labels[:, 2] == 0
    values = figures(counts_of(logits[keep], labels[keep]), CLASSES)
    assert values["auroc"]["c"]["value"] is None
    assert values["auroc"]["c"]["support"] == {"positives": 0, "negatives": int(keep.sum())}
    assert values["left_out"] == ["c"]
    assert values["auroc_macro"]["support"] == {"classes": ["a", "b"]}
    macro = np.mean([values["auroc"][c]["value"] for c in "ab"])
    assert values["auroc_macro"]["value"] == pytest.approx(macro)


def test_nothing_at_all_is_null_everywhere() -> None:
    values = figures(Counts.zero(3, multi_label=False), CLASSES)
    assert values["auroc_macro"]["value"] is None
    assert values["balanced_accuracy"]["value"] is None
    assert values["log_loss"]["value"] is None


def test_few_positives_stay_out_of_the_supported_macro() -> None:
    logits, labels = scored(60)
    few = [c for k, c in enumerate(CLASSES) if labels[:, k].sum() < 10]
    supported = figures(counts_of(logits, labels), CLASSES)["auroc_macro_supported"]
    assert few
    assert supported["support"]["classes"] == [c for c in CLASSES if c not in few]


def test_perfect_and_tied_scores() -> None:
    low, high = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    low[10], high[20] = 5, 7
    assert auroc(high, low)[0] == 1.0
    assert auroc(low, high)[0] == 0.0
    value, _, bound = auroc(low, low)
    assert (value, bound) == (0.5, 0.5)


def test_the_interval_covers_at_its_rate() -> None:
    """DeLong's interval on the bins, for 300 draws with a known AUROC of Φ(1 / √2)."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        scores = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 120)])[:, None]
        labels = np.array([[1.0]] * 60 + [[0.0]] * 120, np.float32)
        c = count(scores, scores, labels, multi_label=True)
        figure = figures(c, ("a",))["auroc"]["a"]
        inside += figure["low"] <= 0.760250 <= figure["high"]
    assert 0.91 < inside / 300 < 0.98


def test_unknown_labels_are_not_counted() -> None:
    labels = np.array([[1, np.nan], [0, 1], [np.nan, 0]], np.float32)
    scores = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -1.0]])
    log_p = np.where(np.isnan(labels), np.nan, -0.1)
    counts = count(scores, log_p, labels, multi_label=True)
    assert counts.positives.sum(axis=1).tolist() == [1, 1]
    assert counts.negatives.sum(axis=1).tolist() == [1, 1]
    assert counts.log_loss.tolist() == pytest.approx([0.4, 4])
    assert figures(counts, ("a", "b"))["balanced_accuracy"]["value"] == 1.0


@pytest.mark.parametrize("name", ["positives", "confusion", "log_loss"])
def test_counts_off_the_wire_are_checked(name: str) -> None:
    good = Counts.zero(3, multi_label=False).to_arrays()
    assert Counts.from_arrays(good, 3, multi_label=False)
    for bad in (good[name][:-1], good[name] - 1, good[name].astype(np.float32)):
        with pytest.raises(MessageError, match=name):
            Counts.from_arrays({**good, name: bad}, 3, multi_label=False)
