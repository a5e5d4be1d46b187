"""What the robust strategies share: answers as rows of a matrix, each of them counted alike.

Of n answers f (``strategy.byzantine``) may be anything. A rule bounds what those f can do, for
enough answers: ``least_sites``. A site's own weight says nothing against a site that lies, so the
rules ignore it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.config import Experiment
from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import SHARED, Strategy, StrategyState

Rows = NDArray[np.float64]
"""Models, one a row: (n, d)."""


class Robust(Strategy):
    """One shared model, replaced each round by what a robust rule makes of the answers."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.byzantine = experiment.strategy.byzantine
        self.least_sites = self.least_answers(self.byzantine)

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        rows = to_rows([a.arrays for a in answers])
        combined = from_row(self.combine(rows), answers[0].arrays)
        return StrategyState({SHARED: combined}, state.memory)

    @staticmethod
    def least_answers(byzantine: int) -> int:
        """The fewest answers for which the rule's bound holds: more than twice f."""
        return 2 * byzantine + 1

    @abstractmethod
    def combine(self, rows: Rows) -> Rows:
        """(n, d) to (d,), for n at least ``least_sites``."""


def to_rows(models: Sequence[Arrays]) -> Rows:
    """Each model's arrays as one row, in the order of their names in the first: (n, d)."""
    names = list(models[0])
    return np.stack(
        [np.concatenate([m[name].ravel().astype(np.float64) for name in names]) for m in models]
    )


def from_row(row: Rows, like: Arrays) -> Arrays:
    """The inverse for one row, float64 (d,): names, shapes and dtypes are those of ``like``."""
    arrays: Arrays = {}
    start = 0
    for name, value in like.items():
        part = row[start : start + value.size]
        arrays[name] = part.reshape(value.shape).astype(value.dtype)
        start += value.size
    return arrays


def squared_distances(rows: Rows) -> Rows:
    """‖xᵢ − xⱼ‖² for all pairs, (n, n): of differences, where norms would cancel."""
    return np.stack([((rows - row) ** 2).sum(axis=1) for row in rows])
