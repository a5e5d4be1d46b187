"""No federation: each site keeps its own model. The baseline that joining must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.messages import TrainAnswer
from server.strategies.base import STRATEGIES, StrategyState
from server.strategies.own_models import OwnModels


@STRATEGIES.register("local")
class Local(OwnModels):
    """One model a site, all from one initialisation, never mixed; in the end scored everywhere."""

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        models = {**state.models, **{answer.site: answer.arrays for answer in answers}}
        return StrategyState(models, state.memory)

    def tested(self, sites: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {name: dict.fromkeys(sites, name) for name in sites}
