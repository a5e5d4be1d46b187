"""What a strategy decides: what each site is asked to train, and what the answers make of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.config import Experiment
from common.errors import JoinError
from common.messages import TrainAnswer
from common.parameters import Arrays
from common.registry import Registry

Models = dict[str, Arrays]
"""Arrays by what they are: a model's name, or a name in a strategy's memory."""
Scorings = Mapping[str, Mapping[str, str]]
"""Name of a set of figures to site to the name of the model that it scores."""

SHARED = "shared"
"""The model that all sites train together, and the figures of it."""
PERSONAL = "personal"
"""The figures of the sites' own models, each scored at its own site."""


@dataclass(frozen=True)
class StrategyState:
    """All that a strategy knows between two rounds; checkpointed.

    Attributes:
        models: are scored at the sites, and written when the run ends.
        memory: is neither: momentum, second moments, control variates.
    """

    models: Models
    memory: Models = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """What a site is sent.

    Attributes:
        arrays: the model to train.
        correction: is added to the gradient of every step (``client/drift.py``).
        personal: a model of the site's own, to be trained beside the other.
    """

    arrays: Arrays
    correction: Arrays | None = None
    personal: Arrays | None = None


class Strategy(ABC):
    """Holds no state: it goes in, and comes out anew.

    What is here is one shared model for all; others override it.
    """

    least_sites = 1
    """Fewer answers than this, and a round is not applied."""

    def __init__(self, experiment: Experiment) -> None:
        """Keep what is asked.

        Raises:
            SettingsError: where the strategy and the experiment do not fit.
        """
        self.experiment = experiment
        self.settings = experiment.strategy

    def check_sites(self, count: int) -> None:
        """Refuse to start with fewer training sites than the strategy's bound holds for.

        Raises:
            JoinError: saying how many it takes.
        """
        if count < self.least_sites:
            raise JoinError(
                f"strategy.name={self.settings.name} with strategy.byzantine="
                f"{self.settings.byzantine} needs at least {self.least_sites} sites that train, "
                f"and there are {count}: its bound does not hold for fewer; take another strategy "
                "or more sites"
            )

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:  # noqa: ARG002
        """The state before round 1, from one initialisation."""
        return StrategyState({SHARED: arrays})

    def configure_train(self, state: StrategyState, site: str) -> Assignment:  # noqa: ARG002
        """What ``site`` is sent this round."""
        return Assignment(state.models[SHARED])

    @abstractmethod
    def aggregate_train(
        self, state: StrategyState, answers: Sequence[TrainAnswer]
    ) -> StrategyState:
        """The next state, from checked answers in the order of their sites' names."""

    def without(self, state: StrategyState, sites: Sequence[str]) -> StrategyState:  # noqa: ARG002
        """The state from when on ``sites`` will not train any more in this run."""
        return state

    def validated(
        self,
        sites: Sequence[str],
        trained: Sequence[str],  # noqa: ARG002
    ) -> Scorings:
        """What is scored after a round; the run is followed by the first set of figures.

        Args:
            sites: all of them.
            trained: those with an answer in a round that was applied.
        """
        return {SHARED: dict.fromkeys(sites, SHARED)}

    def tested(self, sites: Sequence[str], trained: Sequence[str]) -> Scorings:
        """The same after the last round."""
        return self.validated(sites, trained)


STRATEGIES: Registry[type[Strategy]] = Registry("strategy.name")


def build_strategy(experiment: Experiment) -> Strategy:
    """The experiment's strategy.

    Raises:
        SettingsError: for an unknown name, listing what exists, or one that does not fit.
    """
    return STRATEGIES.get(experiment.strategy.name)(experiment)
