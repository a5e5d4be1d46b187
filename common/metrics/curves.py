"""ROC curves of merged counts, with a band."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics.bootstrap import interval
from common.metrics.counts import Counts

FALSE_ALARMS = np.linspace(0.0, 1.0, 101)
"""Shares of false alarms at which a curve is told."""


def roc_curves(
    counts: Counts, classes: tuple[str, ...], replicates: Counts | None
) -> dict[str, dict[str, list[float] | None]]:
    """Sensitivity by the share of false alarms, of each class that has support.

    Between two thresholds a curve is straight. The band is the 95% interval of the sensitivity at
    each share by itself; it has no width where resampling does not move the curve.
    """
    curves: dict[str, dict[str, list[float] | None]] = {}
    for k, name in enumerate(classes):
        positives, negatives = counts.positives[k], counts.negatives[k]
        fewer = int(min(positives.sum(), negatives.sum()))
        if not fewer:
            continue
        found = _sensitivity(positives, negatives)
        ends: dict[str, list[float] | None] = {"low": None, "high": None}
        if replicates is not None:
            drawn = zip(replicates.positives[:, k], replicates.negatives[:, k], strict=True)
            spread = np.stack([_sensitivity(p, n) for p, n in drawn])
            band = [interval(v, s, "share", fewer) for v, s in zip(found, spread.T, strict=True)]
            whole = np.where(np.isnan(band), found[:, None], band)
            ends = {"low": whole[:, 0].tolist(), "high": whole[:, 1].tolist()}
        curves[name] = {"fpr": FALSE_ALARMS.tolist(), "tpr": found.tolist(), **ends}
    return curves


def _sensitivity(positives: NDArray[Any], negatives: NDArray[Any]) -> NDArray[np.float64]:
    """At each of ``FALSE_ALARMS``, float64 (101,); NaN where one side is empty.

    Args:
        positives: int64 (BINS,).
        negatives: int64 (BINS,).
    """
    if not positives.any() or not negatives.any():
        return np.full(len(FALSE_ALARMS), np.nan)
    occupied = (positives + negatives) > 0
    rates = []
    for side in (negatives, positives):
        above = np.cumsum(side[occupied][::-1])
        rates.append(np.concatenate([[0.0], above / above[-1]]))
    false, true = rates
    last = np.concatenate([np.diff(false) > 0, [True]])  # the highest point at each share
    return np.asarray(np.interp(FALSE_ALARMS, false[last], true[last]))
