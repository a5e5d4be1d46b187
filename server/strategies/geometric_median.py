"""The geometric median, by smoothed Weiszfeld steps (RFA: Pillutla et al. 2022, algorithm 2).

The point with the least sum of distances to the answers, argmin_v Σₖ ‖v − wₖ‖; its bound holds for
n > 2f.
"""

from __future__ import annotations

import numpy as np

from server.strategies.base import STRATEGIES
from server.strategies.robust import Robust, Rows

SMOOTHING = 1e-6
"""ν: a distance below it counts as it, so that no answer's weight is infinite."""
TOLERANCE = 1e-9
"""The search ends when a step is shorter than this share of the median distance: of n > 2f
answers it is one of an honest site's, or below it, so that no liar can end the search."""
MOST_STEPS = 1_000


@STRATEGIES.register("geometric_median")
class GeometricMedian(Robust):
    """The shared model is the geometric median of the answers."""

    def combine(self, rows: Rows) -> Rows:
        return geometric_median(rows)


def geometric_median(rows: Rows) -> Rows:
    """v ← Σₖ βₖ wₖ / Σₖ βₖ with βₖ = 1 / max(ν, ‖v − wₖ‖), from the coordinate median on.

    From the mean, as the paper starts, one answer far enough away would take many steps to leave.

    Args:
        rows: (n, d).

    Returns:
        (d,).
    """
    point: Rows = np.median(rows, axis=0)
    for _ in range(MOST_STEPS):
        distances = np.linalg.norm(rows - point, axis=1)
        weights = 1 / np.maximum(SMOOTHING, distances)
        after = (weights / weights.sum()) @ rows
        moved = float(np.linalg.norm(after - point))
        point = after
        if moved <= TOLERANCE * max(SMOOTHING, float(np.median(distances))):
            break
    return point
