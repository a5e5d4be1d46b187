"""What is chosen on validation patients, before a test image is scored: thresholds, temperature.

Validation patients are patients of the training side; none of them is in the test part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.evaluation import EvaluationSettings
from common.metrics.calibration import conformal_edge, fit_temperature
from common.metrics.counts import Counts
from common.metrics.grid import BINS, edge_score
from common.metrics.ranking import ratio
from common.schema import narrow, to_plain

Edges = tuple[int | None, ...]
"""For each class the edge of the grid from which on it is called; ``None``: no support."""


@dataclass(frozen=True)
class Wanted:
    """What thresholds are to reach on validation patients: shares."""

    specificity: float
    sensitivity: float
    coverage: float


@dataclass(frozen=True)
class OperatingPoint:
    """Everything that was fitted.

    Attributes:
        wanted: what it was fitted for.
        temperature: what the logits are to be divided by.
        at_specificity: the lowest edges that keep the wanted specificity.
        at_sensitivity: the highest edges that keep the wanted sensitivity.
        conformal: the edge of conformal sets; ``None`` where validation has too few images.
    """

    wanted: Wanted
    temperature: float
    at_specificity: Edges
    at_sensitivity: Edges
    conformal: int | None

    def problems(self, num_classes: int) -> list[str]:
        """What is wrong with one that was read from a file."""
        edges = (*self.at_specificity, *self.at_sensitivity, self.conformal)
        found = []
        if not self.temperature > 0:
            found.append(f"temperature: expected above 0, got {self.temperature:g}")
        if not len(self.at_specificity) == len(self.at_sensitivity) == num_classes:
            found.append(f"expected {num_classes} thresholds of each kind, one a class")
        if any(edge is not None and not 0 <= edge <= BINS for edge in edges):
            found.append(f"expected edges from 0 to {BINS}")
        return [f"operating_point: {text}" for text in found]

    @staticmethod
    def fit(counts: Counts, settings: EvaluationSettings) -> OperatingPoint:
        """Fit to counts on validation patients, of at least one image."""
        return OperatingPoint(
            narrow(Wanted, settings),
            fit_temperature(counts.temperatures),
            tuple(edge_of_specificity(n, settings.specificity) for n in counts.negatives),
            tuple(edge_of_sensitivity(p, settings.sensitivity) for p in counts.positives),
            conformal_edge(counts, settings.coverage),
        )

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """As results hold it, with edges as probabilities."""
        return {
            "fitted_on": "validation patients",
            "wanted": to_plain(self.wanted),
            "temperature": self.temperature,
            "thresholds": {
                name: {"at_specificity": _score(low), "at_sensitivity": _score(high)}
                for name, low, high in zip(
                    classes, self.at_specificity, self.at_sensitivity, strict=True
                )
            },
            "conformal_threshold": _score(self.conformal),
        }


def edge_of_specificity(negatives: NDArray[np.int64], wanted: float) -> int | None:
    """The lowest edge at or above which lie at most 1 − ``wanted`` of the negatives.

    Args:
        negatives: int64 (BINS,).
        wanted: specificity.

    Returns:
        0 to BINS (nobody is called); ``None`` without negatives.
    """
    total = int(negatives.sum())
    if not total:
        return None
    below = np.concatenate([[0], np.cumsum(negatives)])  # below each edge, 0 to BINS
    return int(np.searchsorted(below, np.ceil(wanted * total - 1e-9)))


def edge_of_sensitivity(positives: NDArray[np.int64], wanted: float) -> int | None:
    """The highest edge at or above which lie at least ``wanted`` of the positives."""
    total = int(positives.sum())
    if not total:
        return None
    below = np.concatenate([[0], np.cumsum(positives)])
    return int(np.searchsorted(below, total - np.ceil(wanted * total - 1e-9), side="right")) - 1


def rates_at(counts: Counts, edges: Edges) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity and specificity (…, K) where each class is called from its edge on."""
    called = np.array([BINS + 1 if e is None else e for e in edges])[:, None]
    above = np.arange(BINS) >= called  # (K, BINS)
    lacking = np.array([e is None for e in edges])
    rates = []
    for cells, right in ((counts.positives, above), (counts.negatives, ~above)):
        rate = ratio(cells.sum(axis=-1, where=right), cells.sum(axis=-1))
        rates.append(np.where(lacking, np.nan, rate))
    return rates[0], rates[1]


def _score(edge: int | None) -> float | None:
    return None if edge is None else edge_score(edge)
