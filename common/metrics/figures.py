"""Figures with their intervals and support, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics.bootstrap import Scale, interval
from common.metrics.calibration import reliability_bins, selective_accuracy
from common.metrics.counts import Counts
from common.metrics.figure import Figure, figure
from common.metrics.grid import edge_score
from common.metrics.thresholds import OperatingPoint
from common.metrics.values import MIN_POSITIVES, Support, Values, bin_errors, values_of

SCALES: dict[str, Scale] = {
    "mcc": "correlation",
    "log_loss": "amount",
    "brier": "amount",
    "calibrated.log_loss": "amount",
    "calibrated.brier": "amount",
    "conformal.set_size": "amount",
}
"""Of each figure that is not a share."""

COVERAGES = tuple(i / 20 for i in range(1, 21))
"""Shares of the decisions at which the accuracy of a model that may abstain is told."""


def figures(
    counts: Counts,
    classes: tuple[str, ...],
    replicates: Counts | None = None,
    point: OperatingPoint | None = None,
) -> dict[str, Any]:
    """Every figure that the counts support.

    A class without positives (or negatives) has value ``None`` and is left out of the macro
    figures, by name. Intervals are 95%, from the replicates; without any they are ``None``.

    Args:
        counts: of one site or of several.
        classes: the K names.
        replicates: of the same images.
        point: what was fitted on validation patients; without one no figure depends on it.
    """
    read = Reading(counts, classes, replicates, point)
    return {**figures_of(read), "abstention": _abstention(read, replicates)}


def figures_of(read: Reading) -> dict[str, Any]:
    """As :func:`figures`, of counts that have been read; without the curve of abstention."""
    counts, classes = read.counts, read.classes
    scored, auroc_errors, auprc_errors = read.support.scored, *bin_errors(counts)
    return {
        "auroc_macro": read.macro("auroc_macro", scored),
        "auroc_macro_supported": {
            **read.macro("auroc_macro_supported", read.support.enough),
            "min_positives": MIN_POSITIVES,
        },
        "auroc": read.by_class("auroc"),
        "auroc_micro": read.macro("auroc_micro", scored),
        "left_out": [c for c, is_scored in zip(classes, scored, strict=True) if not is_scored],
        "bin_error": _most(auroc_errors),
        "auprc_macro": read.macro("auprc_macro", scored),
        "auprc": read.by_class("auprc"),
        "auprc_micro": read.macro("auprc_micro", scored),
        "auprc_bin_error": _most(auprc_errors),
        "balanced_accuracy": read.balanced("balanced_accuracy"),
        "accuracy": read.overall("accuracy"),
        "sensitivity": read.by_class("sensitivity"),
        "false_negative_rate": read.by_class("false_negative_rate"),
        "specificity": read.by_class("specificity"),
        "f1_macro": read.macro("f1_macro", scored),
        "f1": read.by_class("f1"),
        "mcc": read.balanced("mcc"),
        "log_loss": read.overall("log_loss"),
        "brier": read.overall("brier"),
        "ece": read.overall("ece"),
        "reliability": reliability_bins(counts.reliability[0]),
        "confusion": counts.confusion.tolist(),
        **({} if read.point is None else _at_point(read, read.point)),
    }


class Reading:
    """Counts, read: each figure's value, its replicates, and what it rests on."""

    def __init__(
        self,
        counts: Counts,
        classes: tuple[str, ...],
        replicates: Counts | None,
        point: OperatingPoint | None,
    ) -> None:
        self.counts, self.classes, self.point = counts, classes, point
        self.support = Support.of(counts)
        self.values = values_of(counts, self.support, point)
        self.spread: Values = {}
        if replicates is not None:
            self.spread = values_of(replicates, self.support, point)
        self.fewer = np.minimum(self.support.positives, self.support.negatives)

    def overall(self, name: str) -> Figure:
        """A figure of all labels alike."""
        number = int(self.counts.labels)
        return self._figure(name, None, number, number)

    def balanced(self, name: str) -> Figure:
        """A figure of all labels, to which each class adds as much as another."""
        fewest = self.fewest(self.support.positives > 0)
        return self._figure(name, None, fewest, int(self.counts.labels))

    def macro(self, name: str, used: NDArray[np.bool_]) -> Figure:
        """A figure of some classes together; it names them."""
        names = [c for c, is_used in zip(self.classes, used, strict=True) if is_used]
        return self._figure(name, None, self.fewest(used), {"classes": names})

    def by_class(self, name: str) -> dict[str, Figure]:
        """A figure for each class."""
        sides = zip(self.support.positives.tolist(), self.support.negatives.tolist(), strict=True)
        supports = [{"positives": p, "negatives": n} for p, n in sides]
        return {
            c: self._figure(name, k, int(self.fewer[k]), supports[k])
            for k, c in enumerate(self.classes)
        }

    def fewest(self, used: NDArray[np.bool_]) -> int:
        """Images of the kind that there are fewest of, over some classes."""
        return int(self.fewer[used].min()) if used.any() else 0

    def _figure(self, name: str, k: int | None, fewest: int, support: Any) -> Figure:
        """A figure of class ``k``, or where that is ``None`` of all."""
        of = () if k is None else (k,)
        value, ends = float(self.values[name][of]), (np.nan, np.nan)
        if name in self.spread:
            scale = SCALES.get(name, "share")
            ends = interval(value, self.spread[name][:, *of], scale, fewest)
        return figure(value, *ends, support)


def _abstention(read: Reading, replicates: Counts | None) -> list[dict[str, Any]]:
    """Accuracy against coverage: the model decides where it is certain enough, and only there."""
    decided, accuracy = selective_accuracy(read.counts)
    spread = None if replicates is None else selective_accuracy(replicates)[1]
    curve = []
    for wanted in COVERAGES if read.counts.labels else ():
        edge = int(np.nonzero(decided >= wanted - 1e-9)[0][-1])
        support = round(float(decided[edge]) * int(read.counts.labels))
        value, ends = float(accuracy[edge]), (np.nan, np.nan)
        if spread is not None:
            ends = interval(value, spread[:, edge], "share", support)
        curve.append(
            {
                "coverage": float(decided[edge]),
                "certainty": edge_score(edge),
                "accuracy": figure(value, *ends, support),
            }
        )
    return curve


def _at_point(read: Reading, point: OperatingPoint) -> dict[str, Any]:
    """Figures that rest on what was fitted on validation patients."""
    calibrated = {n: read.overall(f"calibrated.{n}") for n in ("log_loss", "brier", "ece")}
    found: dict[str, Any] = {
        name: {rate: read.by_class(f"{name}.{rate}") for rate in ("sensitivity", "specificity")}
        for name in ("at_specificity", "at_sensitivity")
    }
    found["calibrated"] = {
        "temperature": point.temperature,
        **calibrated,
        "reliability": reliability_bins(read.counts.reliability[1]),
    }
    if point.conformal is not None:
        names = ("coverage", "set_size")
        found["conformal"] = {name: read.overall(f"conformal.{name}") for name in names}
    return found


def _most(errors: NDArray[np.float64]) -> float | None:
    known = errors[~np.isnan(errors)]
    return float(known.max()) if len(known) else None
