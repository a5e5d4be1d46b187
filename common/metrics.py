"""Counts that add up across sites, and the figures that follow from them.

A site turns its scores into :class:`Counts` on a fixed public grid; counts of several sites are
added, and :func:`figures` reads them. No average of averages: pooled figures are those of the
pooled images, up to the grid's resolution, whose effect on AUROC is bounded and printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import MessageError

BINS = 4096
LOGIT_LIMIT = 16.0
"""The grid is uniform in the logit of the score, from −16 to 16: scores of rare classes crowd
near 0, where a grid uniform in the score would tie them."""

MIN_POSITIVES = 10
"""Classes with fewer test positives are left out of ``auroc_macro_supported``."""

Z95 = 1.959964
"""97.5% quantile of the standard normal distribution."""

Figure = dict[str, Any]
"""``{"value": float or None, "low": …, "high": …, "support": …}``."""


@dataclass(frozen=True)
class Counts:
    """What is known of scored images, addable.

    Attributes:
        positives: int64 (K, BINS), images of class k by the bin of their score for k.
        negatives: int64 (K, BINS), images not of class k likewise.
        confusion: int64 (K, K), true class by predicted class; for a multi-label task
            int64 (K, 2, 2), truth by prediction at a threshold of 0.5.
        log_loss: float64 (2,), the sum over known labels of −log(probability), and their number.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    confusion: NDArray[np.int64]
    log_loss: NDArray[np.float64]

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.positives + other.positives,
            self.negatives + other.negatives,
            self.confusion + other.confusion,
            self.log_loss + other.log_loss,
        )

    @staticmethod
    def zero(num_classes: int, multi_label: bool) -> Counts:
        confusion = (num_classes, 2, 2) if multi_label else (num_classes, num_classes)
        return Counts(
            np.zeros((num_classes, BINS), np.int64),
            np.zeros((num_classes, BINS), np.int64),
            np.zeros(confusion, np.int64),
            np.zeros(2, np.float64),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @staticmethod
    def from_arrays(
        arrays: Mapping[str, NDArray[Any]], num_classes: int, multi_label: bool
    ) -> Counts:
        """Unpack counts that came over the wire.

        Raises:
            MessageError: where a shape or dtype is wrong, or a count is negative or not finite.
        """
        expected = Counts.zero(num_classes, multi_label).to_arrays()
        for name, zero in expected.items():
            value = arrays.get(name)
            if value is None or value.shape != zero.shape or value.dtype != zero.dtype:
                raise MessageError(f"counts '{name}': expected {zero.dtype} of shape {zero.shape}")
            if not np.isfinite(value).all() or (value < 0).any():
                raise MessageError(f"counts '{name}': a count is negative or not finite")
        if set(arrays) != set(expected):
            raise MessageError(f"counts: expected {sorted(expected)}, got {sorted(arrays)}")
        return Counts(**arrays)


def count(
    log_odds: NDArray[np.float64],
    log_probability: NDArray[np.float64],
    labels: NDArray[np.float32],
    multi_label: bool,
) -> Counts:
    """Count scored images.

    Args:
        log_odds: float64 (n, K), the logit of each class's probability.
        log_probability: float64 (n, K), log p of each class for a single-label task; for a
            multi-label one the log-probability of what was observed (ignored where unknown).
        labels: float32 (n, K) of 0 and 1, NaN where unknown.
        multi_label: which kind of task it is.
    """
    num_classes = labels.shape[1]
    counts = Counts.zero(num_classes, multi_label)
    bins = score_bins(log_odds)
    for k in range(num_classes):
        counts.positives[k] += np.bincount(bins[labels[:, k] == 1, k], minlength=BINS)
        counts.negatives[k] += np.bincount(bins[labels[:, k] == 0, k], minlength=BINS)
    if multi_label:
        known = ~np.isnan(labels)
        for k in range(num_classes):
            truth = labels[known[:, k], k].astype(np.int64)
            np.add.at(
                counts.confusion[k], (truth, (log_odds[known[:, k], k] >= 0).astype(np.int64)), 1
            )
        counts.log_loss[:] = -log_probability[known].sum(), known.sum()
    else:
        truth = labels.argmax(axis=1)
        np.add.at(counts.confusion, (truth, log_odds.argmax(axis=1)), 1)
        counts.log_loss[:] = -log_probability[np.arange(len(truth)), truth].sum(), len(truth)
    return counts


def score_bins(log_odds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each score on the public grid, 0 to BINS − 1; NaN falls into the lowest."""
    clipped = np.clip(np.nan_to_num(log_odds, nan=-LOGIT_LIMIT), -LOGIT_LIMIT, LOGIT_LIMIT)
    bins = np.floor((clipped + LOGIT_LIMIT) / (2 * LOGIT_LIMIT) * BINS).astype(np.int64)
    return np.minimum(bins, BINS - 1)


def auroc(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> tuple[float, float, float]:
    """AUROC of one class, its standard error, and the bound on the grid's error.

    The value is the Mann–Whitney statistic with ties counted half; the standard error is that of
    DeLong, DeLong and Clarke-Pearson (1988, eq. 3 and 4), evaluated on the bins. Images in one
    bin might be ordered either way, so the grid errs by at most half their share of the pairs.

    Args:
        positives: int64 (BINS,).
        negatives: int64 (BINS,).

    Returns:
        (value, standard error, bound); NaN where a class lacks positives or negatives, and a NaN
        standard error where it has fewer than two of either.
    """
    p, n = int(positives.sum()), int(negatives.sum())
    if p == 0 or n == 0:
        return float("nan"), float("nan"), float("nan")
    below = np.cumsum(negatives) - negatives  # negatives in lower bins
    above = p - np.cumsum(positives)  # positives in higher bins
    of_positive = (below + 0.5 * negatives) / n  # DeLong's V10, by bin
    of_negative = (above + 0.5 * positives) / p  # DeLong's V01, by bin
    value = float((positives * of_positive).sum() / p)
    bound = float((positives * negatives).sum() / (2.0 * p * n))
    if p < 2 or n < 2:
        return value, float("nan"), bound
    s10 = float((positives * (of_positive - value) ** 2).sum() / (p - 1))
    s01 = float((negatives * (of_negative - value) ** 2).sum() / (n - 1))
    return value, float(np.sqrt(s10 / p + s01 / n)), bound


def average_precision(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float:
    """AUPRC as average precision: Σ (Rᵢ − Rᵢ₋₁) Pᵢ, thresholds falling; NaN without positives."""
    total = int(positives.sum())
    if total == 0:
        return float("nan")
    found = positives[::-1]
    true_positives = np.cumsum(found)
    predicted = np.cumsum(found + negatives[::-1])
    precision = true_positives / np.maximum(predicted, 1)
    return float((found * precision).sum() / total)


def recalls(confusion: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Recall of each true class (or of each class's two truths, multi-label) and its support."""
    support = confusion.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        rates = np.where(support > 0, hits / np.maximum(support, 1), np.nan)
    return rates.ravel(), support.ravel()


def figures(counts: Counts, classes: tuple[str, ...]) -> dict[str, Any]:
    """Every figure that the counts support, ready for JSON.

    A class without positives (or negatives) has value ``None`` and is left out of the macro
    figure, by name. Intervals are 95%; a macro figure's takes its classes' errors as perfectly
    correlated, which is the widest they can be. Images are taken as independent.
    """
    by_class = {
        name: auroc(counts.positives[k], counts.negatives[k]) for k, name in enumerate(classes)
    }
    positives = {name: int(counts.positives[k].sum()) for k, name in enumerate(classes)}
    negatives = {name: int(counts.negatives[k].sum()) for k, name in enumerate(classes)}
    support = {
        name: {"positives": positives[name], "negatives": negatives[name]} for name in classes
    }
    scored = [name for name in classes if not np.isnan(by_class[name][0])]
    enough = [name for name in scored if positives[name] >= MIN_POSITIVES]
    precision = {
        name: average_precision(counts.positives[k], counts.negatives[k])
        for k, name in enumerate(classes)
    }
    rates, sizes = recalls(counts.confusion)
    rate_errors = np.sqrt(rates * (1 - rates) / np.maximum(sizes, 1))
    with_support = sizes > 0
    total_loss, total = counts.log_loss
    return {
        "auroc_macro": _macro([by_class[c] for c in scored], {"classes": scored}),
        "auroc_macro_supported": {
            **_macro([by_class[c] for c in enough], {"classes": enough}),
            "min_positives": MIN_POSITIVES,
        },
        "auroc": {c: figure(by_class[c][0], by_class[c][1], support[c]) for c in classes},
        "left_out": [c for c in classes if c not in scored],
        "bin_error": max((by_class[c][2] for c in scored), default=None),
        "auprc_macro": figure(_mean([precision[c] for c in scored]), None, {"classes": scored}),
        "auprc": {c: figure(precision[c], None, support[c]) for c in classes},
        "balanced_accuracy": figure(
            _mean(rates[with_support]), _mean(rate_errors[with_support]), int(sizes.sum())
        ),
        "log_loss": figure(total_loss / total if total else float("nan"), None, int(total)),
        "confusion": counts.confusion.tolist(),
    }


def figure(value: float, error: float | None, support: Any) -> Figure:
    """One figure; NaN becomes ``None``, and the interval is value ± 1.96 errors within [0, 1]."""
    known = not np.isnan(value)
    has_interval = known and error is not None and not np.isnan(error)
    return {
        "value": float(value) if known else None,
        "low": max(0.0, float(value - Z95 * error)) if has_interval and error is not None else None,
        "high": min(1.0, float(value + Z95 * error))
        if has_interval and error is not None
        else None,
        "support": support,
    }


def _macro(entries: list[tuple[float, float, float]], support: Any) -> Figure:
    return figure(_mean([e[0] for e in entries]), _mean([e[1] for e in entries]), support)


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
