"""AUROC and average precision of binned scores, with the bound on what the bins may hide.

Every function takes cells on a grid of G bins, scores rising, with any axes before them: int64
(…, G) of positives and of negatives. One bin a distinct score gives the exact figure, ties and all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

Cells = NDArray[np.int64]
Floats = NDArray[np.float64]


def wins(positives: Cells, negatives: Cells) -> Floats:
    """Pairs that a positive wins, plus half of those in one bin: the Mann–Whitney statistic U.

    AUROC is U over the number of pairs (Hanley and McNeil, Radiology 143:29, 1982).
    """
    below = np.cumsum(negatives, axis=-1) - negatives
    return np.asarray((positives * (below + 0.5 * negatives)).sum(axis=-1))


def pairs_in_one_bin(positives: Cells, negatives: Cells) -> Cells:
    """Pairs that the grid cannot order."""
    return np.asarray((positives * negatives).sum(axis=-1))


def precision_sum(positives: Cells, negatives: Cells) -> Floats:
    """Σ over positives of the precision at their own bin's lower edge.

    Over the number of positives it is average precision, Σ (Rᵢ − Rᵢ₋₁) Pᵢ with thresholds falling.
    """
    found, true, called = _falling(positives, negatives)
    return np.asarray((found * true / np.maximum(called, 1)).sum(axis=-1))


def precision_bounds(positives: Cells, negatives: Cells) -> tuple[Floats, Floats]:
    """The least and the most that :func:`precision_sum` could be of the scores behind the bins.

    Least: in each bin the negatives come first, and its p positives one by one, of which the j-th
    has precision (TP + j) / (all above + negatives of the bin + j). Most: its positives come first
    and are tied. No order and no tie gives a positive less than the one or more than the other.
    """
    found, true, called = _falling(positives, negatives)
    above, before = true - found, called - found - _reversed(negatives)  # TP and all, above the bin
    most = found * true / np.maximum(before + found, 1)
    # Σ_{j=1..p} (TP + j) / (D + j) = p − (D − TP) (H(D + p) − H(D)), where H(n) = ψ(n + 1) + γ
    behind = before + _reversed(negatives)
    least = found - (behind - above) * (digamma(behind + found + 1) - digamma(behind + 1))
    return np.asarray(least.sum(axis=-1)), np.asarray(most.sum(axis=-1))


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    known = denominator != 0
    return np.where(known, numerator / np.where(known, denominator, 1), np.nan)


def _reversed(cells: Cells) -> Cells:
    return cells[..., ::-1]


def _falling(positives: Cells, negatives: Cells) -> tuple[Cells, Cells, Cells]:
    """Positives by bin, positives and all at or above it; thresholds falling."""
    found = _reversed(positives)
    true = np.cumsum(found, axis=-1)
    return found, true, true + np.cumsum(_reversed(negatives), axis=-1)
