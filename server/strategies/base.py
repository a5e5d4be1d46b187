"""What a strategy decides: which model each site gets, and what the answers make of the models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from common.messages import TrainAnswer
from common.parameters import Arrays
from common.registry import Registry

Models = dict[str, Arrays]
"""Every model of a run by name; the whole of a strategy's state, checkpointed each round."""


class Strategy(ABC):
    """Holds no state: models go in, models come out."""

    @abstractmethod
    def initial_models(self, arrays: Arrays, sites: Sequence[str]) -> Models:
        """The models before round 1, from one initialisation."""

    @abstractmethod
    def model_for(self, site: str) -> str:
        """Name of the model that ``site`` trains and validates."""

    @abstractmethod
    def aggregate_train(self, models: Models, answers: Sequence[TrainAnswer]) -> Models:
        """The next models, from checked answers in the order of their sites' names."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy.name")
