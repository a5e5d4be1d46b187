"""Settings of a simulation's sites: how one pool of images is divided, and who is held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PoolSettings:
    """How one pool of images is divided into the sites of a simulation, patient by patient."""

    name: Literal["natural", "iid", "dirichlet", "quantity"] = "natural"
    """``natural``: not divided, the data have sites; ``iid``: alike; ``dirichlet``: sites differ in
    their labels; ``quantity``: in their size."""
    sites: int = 4
    alpha: float = 0.5
    """Of the Dirichlet distribution: the smaller, the more the sites differ."""
    seed: int | None = None
    """Draws the shares and places the patients; ``None`` means the run's seed."""


@dataclass(frozen=True)
class PartitionSettings(PoolSettings):
    """Which sites a simulation has, and which of them is only evaluated on."""

    held_out: str | None = None
    """A site all of whose patients are for testing: it trains nothing. ``last``: by name."""
