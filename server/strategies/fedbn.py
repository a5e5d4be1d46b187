"""FedBN: each site keeps its own normalisation (Li et al. 2021, "FedBN", algorithm 1).

What normalises is found among the model's modules; all else is FedAvg's mean. The paper keeps the
local part at the site, and speaks of BatchNorm. Here it is GroupNorm's scale and shift, since no
model has BatchNorm's statistics, and the server keeps them under the site's name, since a site
has no state: so the coordinator sees them, as it sees every update. A site that has not trained,
or never does, has the mean of the others'.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.config import Experiment
from common.errors import SettingsError
from common.messages import TrainAnswer
from common.models import build_model, normalisation_names
from common.parameters import trained_names
from server.strategies.base import STRATEGIES, Models, StrategyState
from server.strategies.fedavg import mean_model
from server.strategies.own_models import OwnModels


@STRATEGIES.register("fedbn")
class FedBN(OwnModels):
    """A model a site, which differ in their normalisation alone; that is the memory, by site."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        model = build_model(experiment)
        self.own = normalisation_names(model) & trained_names(model)
        if not self.own:
            raise SettingsError(
                f"strategy.name=fedbn: model.name={experiment.model.name} has no normalisation "
                f"with model.norm={experiment.model.norm} model.trainable="
                f"{experiment.model.trainable} that a site could train and keep; strategy=fedavg "
                "is the same"
            )

    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        mean = mean_model(answers)
        trained = {a.site: {name: a.arrays[name] for name in sorted(self.own)} for a in answers}
        own: Models = {**state.memory, **trained}
        return StrategyState({site: {**mean, **own.get(site, {})} for site in state.models}, own)
