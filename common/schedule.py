"""The learning rate of each step: a site follows it, and SCAFFOLD's server divides by its sum."""

from __future__ import annotations

import math

from common.config import Experiment, StrategySettings


def learning_rate(strategy: StrategySettings, step: int, total: int) -> float:
    """The rate of step ``step`` of ``total``, from 0.

    Cosine: ½(1 + cos(π step / total)) of the rate (Loshchilov and Hutter 2017, eq. 5).
    """
    if strategy.schedule == "cosine":
        return strategy.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(step, total) / total))
    return strategy.learning_rate


def round_rates(experiment: Experiment, server_round: int) -> list[float]:
    """The rates of one round's ``local_steps`` steps; rounds count from 1."""
    first = (server_round - 1) * experiment.local_steps
    steps = range(first, first + experiment.local_steps)
    return [learning_rate(experiment.strategy, step, experiment.total_steps) for step in steps]
