"""Figures of decisions: each class against the rest, and all of them together.

Every function takes ``table``, int64 (…, K, 2, 2): for each class, truth by decision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.metrics.ranking import ratio

Table = NDArray[np.int64]
Floats = NDArray[np.float64]


def one_against_rest(confusion: NDArray[np.int64], multi_label: bool) -> Table:
    """The table of each class.

    Args:
        confusion: int64 (…, K, K), true class by decided class; multi-label (…, K, 2, 2) already.
        multi_label: which of the two.
    """
    if multi_label:
        return confusion
    both = np.diagonal(confusion, axis1=-2, axis2=-1)
    missed, false = confusion.sum(axis=-1) - both, confusion.sum(axis=-2) - both
    neither = confusion.sum(axis=(-2, -1))[..., None] - both - missed - false
    return np.stack([np.stack([neither, false], -1), np.stack([missed, both], -1)], axis=-2)


def sensitivity(table: Table) -> Floats:
    """Of those that have the class, the share that is found; NaN where nobody has it."""
    return ratio(table[..., 1, 1], table[..., 1, :].sum(axis=-1))


def specificity(table: Table) -> Floats:
    """Of those that have it not, the share that is left alone."""
    return ratio(table[..., 0, 0], table[..., 0, :].sum(axis=-1))


def f1(table: Table) -> Floats:
    """2TP / (2TP + FP + FN); NaN where nobody has the class."""
    twice = 2 * table[..., 1, 1]
    score = ratio(twice, twice + table[..., 0, 1] + table[..., 1, 0])
    return np.where(table[..., 1, :].sum(axis=-1) > 0, score, np.nan)


def matthews(confusion: NDArray[np.int64]) -> Floats:
    """Matthews's correlation of truth and decision, of any number of classes.

    Gorodkin, Comput. Biol. Chem. 28:367 (2004): the covariance of the two indicator matrices over
    the geometric mean of their variances. NaN where all truths, or all decisions, are one class.

    Args:
        confusion: int64 (…, C, C), truth by decision.
    """
    c = confusion.astype(np.float64)
    total, right = c.sum(axis=(-2, -1)), np.trace(c, axis1=-2, axis2=-1)
    truth, decided = c.sum(axis=-1), c.sum(axis=-2)
    shared = right * total - (truth * decided).sum(axis=-1)
    spread = (total**2 - (truth**2).sum(axis=-1)) * (total**2 - (decided**2).sum(axis=-1))
    return ratio(shared, np.sqrt(spread))
