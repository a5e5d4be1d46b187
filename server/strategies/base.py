"""What a strategy decides: which model each site gets, and what the answers make of the models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from common.errors import SettingsError
from common.messages import TrainAnswer
from common.parameters import Arrays
from common.schema import suggest

Models = dict[str, Arrays]
"""Every model of a run by name; the whole of a strategy's state, checkpointed each round."""

_STRATEGIES: dict[str, type[Strategy]] = {}


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


def register(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Class decorator that makes a strategy known under ``name``."""

    def decorate(cls: type[Strategy]) -> type[Strategy]:
        if name in _STRATEGIES:
            raise SettingsError(f"two strategies are called '{name}'")
        _STRATEGIES[name] = cls
        return cls

    return decorate


def strategy_names() -> list[str]:
    return sorted(_STRATEGIES)


def build_strategy(name: str) -> Strategy:
    """Look a strategy up.

    Raises:
        SettingsError: listing what exists, where there is none of that name.
    """
    if name not in _STRATEGIES:
        raise SettingsError(f"strategy.name={name}: unknown strategy{suggest(name, _STRATEGIES)}")
    return _STRATEGIES[name]()
