"""FedBN: each site keeps its own normalisation (Li et al. 2021, "FedBN", algorithm 1).

What normalises is found among the model's modules; all else is FedAvg's mean. The paper keeps the
local part at the site, and speaks of BatchNorm. Here it is GroupNorm's scale and shift, since no
model has BatchNorm's statistics, and the server keeps them under the site's name, since a site
has no state: so the coordinator sees them, as it sees every update.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.config import Experiment
from common.errors import SettingsError
from common.messages import TrainAnswer
from common.models import build_model, normalisation_names
from common.parameters import Arrays, trained_names
from server.strategies.base import STRATEGIES, StrategyState
from server.strategies.fedavg import mean_model
from server.strategies.own_models import OwnModels


@STRATEGIES.register("fedbn")
class FedBN(OwnModels):
    """A model a site, which differ in their normalisation alone."""

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
        mean, trained = mean_model(answers), {a.site: a.arrays for a in answers}
        models = {
            site: mixed(mean, trained.get(site, before), self.own)
            for site, before in state.models.items()
        }
        return StrategyState(models, state.memory)


def mixed(mean: Arrays, site: Arrays, own: frozenset[str]) -> Arrays:
    """The arrays named in ``own`` from the site's model, and all others from the mean."""
    return {name: site[name] if name in own else value for name, value in mean.items()}
