"""SCAFFOLD: control variates against the drift of unlike sites (Karimireddy et al. 2020).

Site k's steps are y ← y − η (g(y) + c − cₖ) (algorithm 1, line 10), where cₖ is its own mean
gradient and c that of all. The paper keeps cₖ at the site. Here the server works it out from the
answer (option II of line 12),

    cₖ⁺ = cₖ − c + (x − yₖ) / Σ η,

with the rates of the round's steps in Kη's place, and sends c − cₖ along with the next model. So a
site needs no state, and under privacy cₖ follows from the noised update, which the ledger has paid
for, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.messages import TrainAnswer
from common.parameters import Arrays
from common.schedule import round_rates
from server.strategies.base import SHARED, STRATEGIES, Assignment, Strategy, StrategyState
from server.strategies.fedavg import mean_model, weighted_mean

CONTROL = "control"
"""c in the memory; cₖ is ``control-SITE``."""


@STRATEGIES.register("scaffold")
class Scaffold(Strategy):
    """1. each answer gives its site's cₖ; 2. c moves with them; 3. the model is their mean."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:
        zeros = {name: np.zeros_like(value) for name, value in arrays.items()}
        names = [CONTROL, *(_control_of(site) for site in sites)]
        return StrategyState({SHARED: arrays}, dict.fromkeys(names, zeros))

    def configure_train(self, state: StrategyState, site: str) -> Assignment:
        c, own = state.memory[CONTROL], state.memory[_control_of(site)]
        correction = {name: c[name] - own[name] for name in c}
        return Assignment(state.models[SHARED], correction=correction)

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        x, c = state.models[SHARED], state.memory[CONTROL]
        rates = sum(round_rates(self.experiment, answers[0].server_round))
        before = {a.site: state.memory[_control_of(a.site)] for a in answers}
        after = {a.site: site_control(before[a.site], c, x, a.arrays, rates) for a in answers}  # 1
        sites = sum(name != CONTROL for name in state.memory if name.startswith(CONTROL))
        weights = [a.num_examples for a in answers]
        memory = {
            **state.memory,
            **{_control_of(site): control for site, control in after.items()},
            CONTROL: next_control(c, before, after, weights, len(answers) / sites),  # 2
        }
        return StrategyState({SHARED: mean_model(answers)}, memory)  # 3


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


def next_control(
    c: Arrays,
    before: Mapping[str, Arrays],
    after: Mapping[str, Arrays],
    weights: Sequence[float],
    share: float,
) -> Arrays:
    """c ← c + (|S| / N) Σₖ pₖ (cₖ⁺ − cₖ), k in S, the sites that answered (line 17).

    The paper's sites count alike. Here pₖ = nₖ / Σ n, as in the mean of the models: with every site
    in every round, c is the mean gradient of the same objective.

    Args:
        c: before the round.
        before: cₖ of each site in S.
        after: cₖ⁺ of the same sites in the same order.
        weights: nₖ in that order.
        share: |S| / N.
    """
    changes = [{name: after[site][name] - before[site][name] for name in c} for site in after]
    mean = weighted_mean(changes, weights)
    return {name: (c[name] + share * mean[name]).astype(c[name].dtype) for name in c}


def _control_of(site: str) -> str:
    return f"{CONTROL}-{site}"
