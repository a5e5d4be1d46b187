"""What strategies share that keep a model a site: the server holds it under the site's name."""

from __future__ import annotations

from collections.abc import Sequence

from common.parameters import Arrays
from server.strategies.base import PERSONAL, Assignment, Scorings, Strategy, StrategyState


class OwnModels(Strategy):
    """Each site trains and validates its own model, all from one initialisation."""

    def initial_state(self, arrays: Arrays, sites: Sequence[str]) -> StrategyState:
        return StrategyState({site: dict(arrays) for site in sites})

    def configure_train(self, state: StrategyState, site: str) -> Assignment:
        return Assignment(state.models[site])

    def validated(self, sites: Sequence[str], trained: Sequence[str]) -> Scorings:  # noqa: ARG002
        return {PERSONAL: {site: site for site in sites}}
