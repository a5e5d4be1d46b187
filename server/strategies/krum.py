"""Krum and Multi-Krum (Blanchard et al. 2017): the answers that have the most others near them.

A model's score is the sum of its squared distances to the n − f − 2 models nearest to it (section
4). Krum takes the model with the least score; Multi-Krum the mean of the m with the least (section
6), here with m = n − f − 2, as many as each score counts. The bound holds for n ≥ 2f + 3
(proposition 4.2). Flower's ``select_multikrum`` takes distances as differences of float32 norms,
which cancel where models are near to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from server.strategies.base import STRATEGIES
from server.strategies.robust import Robust, Rows, squared_distances


@STRATEGIES.register("multi_krum")
class MultiKrum(Robust):
    """The mean of the n − f − 2 models with the least scores."""

    @staticmethod
    def least_answers(byzantine: int) -> int:
        return 2 * byzantine + 3

    def combine(self, rows: Rows) -> Rows:
        nearest = ranking(rows, self.byzantine)[: self.taken(len(rows))]
        mean: Rows = rows[np.sort(nearest)].mean(axis=0)
        return mean

    def taken(self, answers: int) -> int:
        """m, of ``answers`` models."""
        return answers - self.byzantine - 2


@STRATEGIES.register("krum")
class Krum(MultiKrum):
    """The one model with the least score."""

    def taken(self, answers: int) -> int:  # noqa: ARG002
        return 1


def scores(rows: Rows, byzantine: int) -> Rows:
    """Σ ‖xᵢ − xⱼ‖² over the n − f − 2 rows j nearest to each row i: (n,)."""
    nearest = len(rows) - byzantine - 2
    others = np.sort(squared_distances(rows), axis=1)[:, 1 : nearest + 1]  # the first is itself
    total: Rows = others.sum(axis=1)
    return total


def ranking(rows: Rows, byzantine: int) -> NDArray[np.int64]:
    """Rows by score, the least first; of equals the first in the order given, int64 (n,)."""
    return np.argsort(scores(rows, byzantine), kind="stable")
