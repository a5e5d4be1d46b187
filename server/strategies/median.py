"""The coordinate-wise median (Yin et al. 2018, definition 1); its bound holds for n > 2f."""

from __future__ import annotations

import numpy as np

from server.strategies.base import STRATEGIES
from server.strategies.robust import Robust, Rows


@STRATEGIES.register("median")
class Median(Robust):
    """Each weight is the median of that weight over the sites."""

    def combine(self, rows: Rows) -> Rows:
        median: Rows = np.median(rows, axis=0)
        return median
