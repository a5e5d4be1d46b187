"""FedAvg: the weighted mean of the sites' models (McMahan et al. 2017, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import SHARED, STRATEGIES, Strategy, StrategyState


@STRATEGIES.register("fedavg")
class FedAvg(Strategy):
    """One shared model, replaced each round by the sites' weighted mean."""

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        return StrategyState({SHARED: mean_model(answers)}, state.memory)


def mean_model(answers: Sequence[TrainAnswer]) -> Arrays:
    """The weighted mean of the models that came."""
    return weighted_mean([a.arrays for a in answers], [a.num_examples for a in answers])


def weighted_mean(models: Sequence[Arrays], weights: Sequence[float]) -> Arrays:
    """w ← Σₖ (nₖ / n) wₖ, summed in float64 in the order given, each array back in its dtype.

    Args:
        models: one mapping of equal names and shapes a site.
        weights: nₖ > 0.
    """
    total = float(sum(weights))
    mean: Arrays = {}
    for name, first in models[0].items():
        summed = np.zeros(first.shape, dtype=np.float64)
        for model, weight in zip(models, weights, strict=True):
            summed += (weight / total) * model[name].astype(np.float64)
        mean[name] = summed.astype(first.dtype)
    return mean
