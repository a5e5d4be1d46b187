"""FedOpt: the sites' mean change is a gradient, and the server takes an optimiser's step with it.

Δ = Σₖ (nₖ / n) wₖ − x is the change that FedAvg would make. The state starts at m = 0 and v = τ²,
as Reddi et al. have it, and nothing is corrected for that start. Flower's strategies of these
names keep their state in themselves, where no checkpoint reaches it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import SHARED, STRATEGIES, Strategy, StrategyState
from server.strategies.fedavg import mean_model

MOMENTUM = "momentum"
SECOND_MOMENT = "second_moment"

Float64 = NDArray[np.float64]


def heavy_ball(m: Float64, change: Float64, beta: float) -> Float64:
    """m ← β m + Δ (Hsu, Qi and Brown 2019, section 4.3)."""
    return beta * m + change


def first_moment(m: Float64, change: Float64, beta: float) -> Float64:
    """m ← β₁ m + (1 − β₁) Δ (Reddi et al. 2021, algorithm 2)."""
    return beta * m + (1 - beta) * change


def adam_moment(v: Float64, change: Float64, beta: float) -> Float64:
    """v ← β₂ v + (1 − β₂) Δ² (the same, FedAdam)."""
    return beta * v + (1 - beta) * change**2


def yogi_moment(v: Float64, change: Float64, beta: float) -> Float64:
    """v ← v − (1 − β₂) Δ² sign(v − Δ²) (the same, FedYogi): v falls slowly."""
    return v - (1 - beta) * change**2 * np.sign(v - change**2)


def adaptive_step(x: Float64, m: Float64, v: Float64, rate: float, tau: float) -> Float64:
    """x ← x + η m / (√v + τ) (the same)."""
    return x + rate * m / (np.sqrt(v) + tau)


@STRATEGIES.register("fedavgm")
class FedAvgM(Strategy):
    """Momentum at the server: x ← x + η m."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:  # noqa: ARG002
        return StrategyState({SHARED: arrays}, {MOMENTUM: _filled(arrays, 0.0)})

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        x, change = state.models[SHARED], _change(state, answers)
        beta, rate = self.settings.server_momentum, self.settings.server_learning_rate
        m = _each(lambda m, d: heavy_ball(m, d, beta), state.memory[MOMENTUM], change)
        x = _each(lambda x, m: x + rate * m, x, m)
        return StrategyState({SHARED: x}, {**state.memory, MOMENTUM: m})


class _Adaptive(Strategy):
    """A rate of its own for each weight."""

    @staticmethod
    @abstractmethod
    def second_moment(v: Float64, change: Float64, beta: float) -> Float64:
        """v after ``change``."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:  # noqa: ARG002
        start = _filled(arrays, self.settings.adaptivity**2)
        return StrategyState(
            {SHARED: arrays}, {MOMENTUM: _filled(arrays, 0.0), SECOND_MOMENT: start}
        )

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        settings = self.settings
        x, m, v = state.models[SHARED], state.memory[MOMENTUM], state.memory[SECOND_MOMENT]
        change = _change(state, answers)
        m = _each(lambda m, d: first_moment(m, d, settings.server_momentum), m, change)
        v = _each(lambda v, d: self.second_moment(v, d, settings.second_momentum), v, change)
        rate, tau = settings.server_learning_rate, settings.adaptivity
        x = _each(lambda x, m, v: adaptive_step(x, m, v, rate, tau), x, m, v)
        return StrategyState({SHARED: x}, {**state.memory, MOMENTUM: m, SECOND_MOMENT: v})


@STRATEGIES.register("fedadam")
class FedAdam(_Adaptive):
    """v forgets at a constant rate."""

    second_moment = staticmethod(adam_moment)


@STRATEGIES.register("fedyogi")
class FedYogi(_Adaptive):
    """v moves by a share of Δ² at most."""

    second_moment = staticmethod(yogi_moment)


def _change(state: StrategyState, answers: Sequence[TrainAnswer]) -> Arrays:
    """Δ, float32."""
    return _each(lambda mean, x: mean - x, mean_model(answers), state.models[SHARED])


def _each(formula: Callable[..., Float64], first: Arrays, *others: Arrays) -> Arrays:
    """``formula`` on the arrays of each name, in float64; each result in the first's dtype."""
    return {
        name: formula(
            value.astype(np.float64), *(other[name].astype(np.float64) for other in others)
        ).astype(value.dtype)
        for name, value in first.items()
    }


def _filled(arrays: Arrays, value: float) -> Arrays:
    return {name: np.full_like(array, value) for name, array in arrays.items()}
