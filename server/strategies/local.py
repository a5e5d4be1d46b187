"""No federation: each site keeps its own model. The baseline that joining must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import PERSONAL, STRATEGIES, Assignment, Strategy, StrategyState


@STRATEGIES.register("local")
class Local(Strategy):
    """One model a site, all from one initialisation, never mixed; in the end scored everywhere."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:
        return StrategyState({site: dict(arrays) for site in sites})

    def configure_train(self, state: StrategyState, site: str) -> Assignment:
        return Assignment(state.models[site])

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        models = {**state.models, **{answer.site: answer.arrays for answer in answers}}
        return StrategyState(models, state.memory)

    def validated(self, sites: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {PERSONAL: {site: site for site in sites}}

    def tested(self, sites: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {name: dict.fromkeys(sites, name) for name in sites}
