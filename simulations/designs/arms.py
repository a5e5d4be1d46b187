"""The runs that stand beside a federation, each of the same settings but for one thing.

All score the same patients: a patient's part follows from its own id (``common/data/split.py``),
whoever trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.config import Settings

FEDERATION = "federation"
ALONE = "alone"
POOLED = "pooled"


def federation(settings: Settings) -> Settings:
    """The run itself."""
    return replace(settings, design="none")


def alone(settings: Settings) -> Settings:
    """Each site trains its own model, for as many steps and without interruption."""
    return replace(
        federation(settings),
        strategy=replace(settings.strategy, name="local"),
        rounds=1,
        local_steps=settings.rounds * settings.local_steps,
    )


def pooled(settings: Settings, sites: int) -> Settings:
    """One site with all images, seen as often as the ``sites`` see theirs.

    A step takes ``batch_size`` images wherever it is taken, so there are ``sites`` times as many
    steps; but where it takes a share of the patients, as many.

    No hospital could do this; a simulation can, and it is what federating is measured against.
    """
    steps = settings.rounds * settings.local_steps
    if not settings.privacy.enabled or settings.privacy.sample_rate is None:
        steps *= sites
    public = settings.privacy.public_patients
    if isinstance(public, Mapping):
        public = sum(public.values())
    return replace(
        federation(settings),
        partition=replace(settings.partition, name="iid", sites=1, held_out=None),
        privacy=replace(settings.privacy, public_patients=public),
        strategy=replace(settings.strategy, name="fedavg"),
        rounds=1,
        local_steps=steps,
    )


def without(settings: Settings, site: str) -> Settings:
    """The federation of all other sites; ``site`` is external, and all its patients are scored."""
    partition = replace(settings.partition, held_out=site)
    return replace(federation(settings), partition=partition)


def without_name(site: str) -> str:
    """Of the run that ``site`` has no part in, and of its model."""
    return f"without-{site}"


def arms_of(settings: Settings, sites: Sequence[str]) -> dict[str, Settings]:
    """Every run that a design needs beside the federation, by name."""
    arms = {ALONE: alone(settings)}
    if settings.design == "leave_one_site_out":
        return arms | {without_name(site): without(settings, site) for site in sites}
    return arms | {POOLED: pooled(settings, len(sites))}
