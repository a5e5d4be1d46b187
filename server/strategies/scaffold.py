"""SCAFFOLD: control variates against the drift of unlike sites (Karimireddy et al. 2020).

Site k's steps are y ← y − η (g(y) + c − cₖ) (algorithm 1, line 10), where cₖ is its own mean
gradient and c that of all. The paper keeps cₖ at the site. Here the server works it out from the
answer (option II of line 12),

    cₖ⁺ = cₖ − c + (x − yₖ) / Σ η,

with the rates of the round's steps in Kη's place, and sends c − cₖ along with the next model. So a
site needs no state, and under privacy cₖ follows from the noised update, which the ledger has paid
for, and from nothing else. The paper's sites count alike, and its c moves by the mean change of
those that answer, so that it stays the mean of all cₖ (line 17). Here c is Σₖ nₖ cₖ / Σₖ nₖ over
the sites that have ever answered, with the weights of the mean of the models: the mean gradient of
the same objective, whoever misses a round. A site that has not answered yet is sent no correction;
one that will not train any more is left out of c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.messages import TrainAnswer
from common.parameters import Arrays
from common.schedule import round_rates
from server.strategies.base import SHARED, STRATEGIES, Assignment, Models, Strategy, StrategyState
from server.strategies.fedavg import mean_model, weighted_mean

CONTROL = "control"
"""c in the memory; cₖ is ``control-SITE``."""
WEIGHTS = "weights"
"""nₖ in the memory, of each site that has answered and may again, by its name: float64, no axis."""


@STRATEGIES.register("scaffold")
class Scaffold(Strategy):
    """1. each answer gives its site's cₖ; 2. c is their mean; 3. the model is the answers'."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:  # noqa: ARG002
        return StrategyState({SHARED: arrays}, {CONTROL: _zeros(arrays)})

    def configure_train(self, state: StrategyState, site: str) -> Assignment:
        c = state.memory[CONTROL]
        own = state.memory.get(_control_of(site), c)
        correction = {name: c[name] - own[name] for name in c}
        return Assignment(state.models[SHARED], correction=correction)

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        x, c = state.models[SHARED], state.memory[CONTROL]
        rates = sum(round_rates(self.experiment, answers[0].server_round))
        memory = dict(state.memory)
        for a in answers:  # 1
            own = _control_of(a.site)
            memory[own] = site_control(memory.get(own, c), c, x, a.arrays, rates)
        weights = {a.site: np.array(a.num_examples) for a in answers}
        memory[WEIGHTS] = memory.get(WEIGHTS, {}) | weights
        memory[CONTROL] = _mean_control(memory)  # 2
        return StrategyState({SHARED: mean_model(answers)}, memory)  # 3

    def without(self, state: StrategyState, sites: Sequence[str]) -> StrategyState:
        heard = state.memory.get(WEIGHTS, {})
        weights = {site: n for site, n in heard.items() if site not in sites}
        memory = {**state.memory, WEIGHTS: weights}
        return replace(state, memory={**memory, CONTROL: _mean_control(memory)})


def site_control(own: Arrays, c: Arrays, x: Arrays, y: Arrays, rates: float) -> Arrays:
    """cₖ⁺ = cₖ − c + (x − y) / Σ η, in float64, each array back in its dtype.

    Args:
        own: cₖ.
        c: the mean of them all.
        x: the model that the site was sent.
        y: its answer.
        rates: Σ η over the round's steps, above 0.
    """
    control: Arrays = {}
    for name, value in own.items():
        moved = (x[name].astype(np.float64) - y[name]) / rates
        control[name] = (value.astype(np.float64) - c[name] + moved).astype(value.dtype)
    return control


def _mean_control(memory: Models) -> Arrays:
    """c of the sites in ``WEIGHTS``; zeros where there are none."""
    weights = sorted(memory[WEIGHTS].items())
    if not weights:
        return _zeros(memory[CONTROL])
    controls = [memory[_control_of(site)] for site, _ in weights]
    return weighted_mean(controls, [float(n) for _, n in weights])


def _zeros(arrays: Arrays) -> Arrays:
    return {name: np.zeros_like(value) for name, value in arrays.items()}


def _control_of(site: str) -> str:
    return f"{CONTROL}-{site}"
