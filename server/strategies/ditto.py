"""Ditto: a personal model a site, held to the shared one (Li et al. 2021, "Ditto", algorithm 1).

The shared model w is FedAvg's. Beside it site k trains its own vₖ to minimise
Fₖ(v) + (λ/2) ‖v − wᵗ‖² (the paper's problem Ditto), with wᵗ the shared model that it was sent and
λ = ``strategy.proximal``. Both take ``local_steps`` steps, so under privacy a round costs twice as
many: ``Experiment.round_steps`` prices it.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import (
    PERSONAL,
    SHARED,
    STRATEGIES,
    Assignment,
    Scorings,
    Strategy,
    StrategyState,
)
from server.strategies.fedavg import mean_model


@STRATEGIES.register("ditto")
class Ditto(Strategy):
    """The server keeps both for the sites, which have no state; it scores those that trained."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:
        personal = {personal_model(site): dict(arrays) for site in sites}
        return StrategyState({SHARED: arrays, **personal})

    def configure_train(self, state: StrategyState, site: str) -> Assignment:
        return Assignment(state.models[SHARED], personal=state.models[personal_model(site)])

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        personal = {personal_model(a.site): a.personal for a in answers if a.personal is not None}
        models = {**state.models, **personal, SHARED: mean_model(answers)}
        return StrategyState(models, state.memory)

    def validated(self, sites: Sequence[str], trained: Sequence[str]) -> Scorings:
        own = {site: personal_model(site) for site in sites if site in trained}
        return {**super().validated(sites, trained), PERSONAL: own}


def personal_model(site: str) -> str:
    """Its name, which no other model has, whatever the site's."""
    return f"{PERSONAL}-{site}"
