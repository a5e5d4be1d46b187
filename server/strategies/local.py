"""No federation: each site keeps its own model. The baseline that joining must beat."""

from __future__ import annotations

from collections.abc import Sequence

from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies.base import STRATEGIES, Models, Strategy


@STRATEGIES.register("local")
class Local(Strategy):
    """One model a site, all from one initialisation, never mixed."""

    def initial_models(self, arrays: Arrays, sites: Sequence[str]) -> Models:
        return {site: dict(arrays) for site in sites}

    def model_for(self, site: str) -> str:
        return site

    def aggregate_train(self, models: Models, answers: Sequence[TrainAnswer]) -> Models:
        return {**models, **{answer.site: answer.arrays for answer in answers}}
