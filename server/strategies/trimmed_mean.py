"""The coordinate-wise trimmed mean (Yin et al. 2018, definition 2); its bound holds for n > 2f.

Flower's ``trim_mean`` takes f as a share of n, which floating point can round to one too few.
"""

from __future__ import annotations

import numpy as np

from server.strategies.base import STRATEGIES
from server.strategies.robust import Robust, Rows


@STRATEGIES.register("trimmed_mean")
class TrimmedMean(Robust):
    """Each weight is the mean of what is left without its f largest and f smallest values."""

    def combine(self, rows: Rows) -> Rows:
        return trimmed_mean(rows, self.byzantine)


def trimmed_mean(rows: Rows, trimmed: int) -> Rows:
    """(n, d) to (d,): each column's mean without its ``trimmed`` largest and smallest values."""
    kept: Rows = np.sort(rows, axis=0)[trimmed : len(rows) - trimmed]
    mean: Rows = kept.mean(axis=0)
    return mean
