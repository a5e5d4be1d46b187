"""No federation: each site keeps its own model. The baseline that joining must beat."""

from __future__ import annotations

from collections.abc import Sequence

from common.messages import TrainAnswer
from server.strategies.base import PERSONAL, STRATEGIES, Scorings, StrategyState
from server.strategies.own_models import OwnModels


@STRATEGIES.register("local")
class Local(OwnModels):
    """One model a site, all from one initialisation, never mixed; in the end scored everywhere.

    A site that never trains has none to be scored.
    """

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        models = {**state.models, **{answer.site: answer.arrays for answer in answers}}
        return StrategyState(models, state.memory)

    def validated(self, sites: Sequence[str], trained: Sequence[str]) -> Scorings:
        return {PERSONAL: {site: site for site in sites if site in trained}}

    def tested(self, sites: Sequence[str], trained: Sequence[str]) -> Scorings:
        return {name: dict.fromkeys(sites, name) for name in sites if name in trained}
