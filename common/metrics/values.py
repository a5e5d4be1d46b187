"""Every figure as a number, from counts alone; of all replicates at once where counts hold some."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.metrics import decisions
from common.metrics.calibration import calibration_error, conformal_sets
from common.metrics.counts import Counts
from common.metrics.ranking import (
    pairs_in_one_bin,
    precision_bounds,
    precision_sum,
    ratio,
    wins,
)
from common.metrics.thresholds import OperatingPoint, rates_at

MIN_POSITIVES = 10
"""Classes with fewer test positives are left out of ``auroc_macro_supported``."""

Values = dict[str, NDArray[np.float64]]
"""Name of a figure to float64 (…), or (…, K) where it has one a class; NaN is unknown."""


@dataclass(frozen=True)
class Support:
    """Which classes the counts say something of.

    Attributes:
        positives: int64 (K,), images with the class.
        negatives: int64 (K,), images without it.
        recalled: bool (K,), or multi-label (K, 2): what ``balanced_accuracy`` is the mean over.
        bins: int64 (K + 1, W), for each class and for all together the bins that hold an image,
            rising, and after them some that hold none: rankings need no others.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    recalled: NDArray[np.bool_]
    bins: NDArray[np.int64]

    @staticmethod
    def of(counts: Counts) -> Support:
        positives, negatives = counts.with_all()
        empty = positives + negatives == 0
        widest = int((~empty).sum(axis=-1).max())
        return Support(
            counts.positives.sum(axis=-1),
            counts.negatives.sum(axis=-1),
            counts.confusion.sum(axis=-1) > 0,
            np.argsort(empty, axis=-1, kind="stable")[:, :widest],
        )

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Classes with an AUROC, which macro figures are the mean of."""
        return (self.positives > 0) & (self.negatives > 0)

    @property
    def enough(self) -> NDArray[np.bool_]:
        return self.scored & (self.positives >= MIN_POSITIVES)


def values_of(counts: Counts, support: Support, point: OperatingPoint | None) -> Values:
    """The figures of ``counts``, or of each replicate in it.

    Args:
        counts: of one site or of several.
        support: of the counts themselves, also where ``counts`` holds their replicates.
        point: what was fitted on validation patients, where something was.
    """
    values = _rankings(counts, support) | _decisions(counts, support) | _losses(counts)
    if point is not None:
        for name, edges in (
            ("at_specificity", point.at_specificity),
            ("at_sensitivity", point.at_sensitivity),
        ):
            found, left = rates_at(counts, edges)
            values |= {f"{name}.sensitivity": found, f"{name}.specificity": left}
        if point.conformal is not None:
            held, size = conformal_sets(counts, point.conformal)
            values |= {"conformal.coverage": held, "conformal.set_size": size}
    return values


def bin_errors(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The most by which the grid can make AUROC and average precision err: float64 (K + 1,) each.

    Images of two sites in one bin may be ordered either way, so AUROC errs by at most half of
    their share of the pairs; those of one site were ordered there. Of one site both are exact.
    """
    positives, negatives = counts.with_all()
    found, left = positives.sum(axis=-1), negatives.sum(axis=-1)
    unordered = pairs_in_one_bin(positives, negatives) - counts.in_one_bin[:, 0]
    least, most = precision_bounds(positives, negatives)
    middle = precision_sum(positives, negatives)
    off = np.maximum(most - middle, middle - least)
    off = np.zeros_like(off) if counts.sites[0] == 1 else off
    return ratio(unordered, 2 * found * left), ratio(off, found)


def _rankings(counts: Counts, support: Support) -> Values:
    bins = support.bins.reshape(*(1,) * (counts.positives.ndim - 2), *support.bins.shape)
    positives, negatives = (np.take_along_axis(s, bins, axis=-1) for s in counts.with_all())
    found, left = positives.sum(axis=-1), negatives.sum(axis=-1)
    ordered = counts.in_one_bin[..., 1] / 2 - counts.in_one_bin[..., 0] / 2
    auroc = ratio(wins(positives, negatives) + ordered, found * left)
    exact = counts.sites == 1
    precision = np.where(exact, counts.precision, precision_sum(positives, negatives))
    auprc = ratio(precision, found)
    return {
        "auroc": auroc[..., :-1],
        "auroc_macro": _mean(auroc[..., :-1], support.scored),
        "auroc_macro_supported": _mean(auroc[..., :-1], support.enough),
        "auroc_micro": auroc[..., -1],
        "auprc": auprc[..., :-1],
        "auprc_macro": _mean(auprc[..., :-1], support.scored),
        "auprc_micro": auprc[..., -1],
    }


def _decisions(counts: Counts, support: Support) -> Values:
    table = decisions.one_against_rest(counts.confusion, counts.multi_label)
    found, left = decisions.sensitivity(table), decisions.specificity(table)
    found = np.where(support.positives > 0, found, np.nan)
    left = np.where(support.negatives > 0, left, np.nan)
    recalls = np.stack([left, found], axis=-1) if counts.multi_label else found
    f1 = decisions.f1(table)
    matthews = decisions.matthews(counts.confusion)
    return {
        "balanced_accuracy": _mean(recalls, support.recalled),
        "accuracy": ratio(counts.confidence[..., 1, :].sum(axis=-1), counts.labels),
        "sensitivity": found,
        "false_negative_rate": 1 - found,
        "specificity": left,
        "f1": f1,
        "f1_macro": _mean(f1, support.scored),
        "mcc": _mean(matthews, support.scored) if counts.multi_label else matthews,
    }


def _losses(counts: Counts) -> Values:
    means = ratio(counts.losses, counts.labels[..., None, None])
    error = calibration_error(counts.reliability)
    values = {}
    for i, prefix in enumerate(("", "calibrated.")):
        values[f"{prefix}log_loss"] = means[..., i, 0]
        values[f"{prefix}brier"] = means[..., i, 1]
        values[f"{prefix}ece"] = error[..., i]
    return values


def _mean(values: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the entries in use; NaN where one of them is, or none is in use."""
    chosen = values[..., used]
    return chosen.mean(axis=-1) if used.any() else np.full(chosen.shape[:-1], np.nan)
