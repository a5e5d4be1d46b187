"""The runs that stand beside a federation, each of the same settings but for one thing.

All score the same patients: a patient's part follows from its own id (``common/data/split.py``),
whoever trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.config import Settings
from common.strategy_checks import renamed

FEDERATION = "federation"
ALONE = "alone"
POOLED = "pooled"


def federation(settings: Settings) -> Settings:
    """The run itself."""
    return replace(settings, design="none")


def alone(settings: Settings) -> Settings:
    """Each site trains its own model, for as many steps."""
    return _trained_apart(settings, "local", settings.local_steps)


def pooled(settings: Settings, sites: int) -> Settings:
    """One site with all images, seen as often as the ``sites`` see theirs.

    A step takes ``batch_size`` images wherever it is taken, so there are ``sites`` times as many
    steps; but where it takes a share of the patients, as many.

    No hospital could do this; a simulation can, and it is what federating is measured against.
    """
    steps = settings.local_steps
    if not settings.privacy.enabled or settings.privacy.sample_rate is None:
        steps *= sites
    public = settings.privacy.public_patients
    if isinstance(public, Mapping):
        public = sum(public.values())
    elif public is not None:  # each site's
        public *= sites
    return replace(
        _trained_apart(settings, "fedavg", steps),
        partition=replace(settings.partition, name="iid", sites=1, held_out=None),
        privacy=replace(settings.privacy, public_patients=public),
        quorum=None,
    )


def _trained_apart(settings: Settings, strategy: str, local_steps: int) -> Settings:
    """Training that is mixed with nobody's, of so many steps for each round of the federation.

    An optimiser with a memory would lose it at the end of each round for nothing: it takes all
    steps in one. Plain SGD has none: the same rounds take the same steps, and what is made
    of rounds, as their average, this run has too.
    """
    rounds, optimiser = settings.rounds, settings.strategy
    if optimiser.optimizer != "sgd" or optimiser.momentum > 0:
        rounds, local_steps = 1, rounds * local_steps
    return replace(
        federation(settings),
        strategy=renamed(optimiser, strategy),
        rounds=rounds,
        local_steps=local_steps,
    )


def without(settings: Settings, site: str) -> Settings:
    """The federation of all other sites; ``site`` is external, and all its patients are scored."""
    partition = replace(settings.partition, held_out=site)
    return replace(federation(settings), partition=partition, quorum=None)


def without_name(site: str) -> str:
    """Of the run that ``site`` has no part in, and of its model."""
    return f"without-{site}"


def arms_of(settings: Settings, sites: Sequence[str]) -> dict[str, Settings]:
    """Every run that a design needs beside the federation, by name."""
    arms = {ALONE: alone(settings)}
    if settings.design == "leave_one_site_out":
        return arms | {without_name(site): without(settings, site) for site in sites}
    return arms | {POOLED: pooled(settings, len(sites))}
