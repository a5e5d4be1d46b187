"""ε by composing privacy loss random variables on a grid, at a cost that the history bounds.

Gopi, Lee and Wutschitz 2021 (https://arxiv.org/abs/2106.02848), by Opacus's functions. Opacus's
own ``PRVAccountant`` takes a minute for little noise over many steps (q = 0.074, σ = 0.4, 3,449
steps): here the grid is known before anything is computed, and a history whose grid is too large
is refused. What decides is the history and δ, never a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from common.privacy.history import History
from common.privacy.rdp import rdp_epsilon

if TYPE_CHECKING:
    from opacus.accountants.analysis.prv import DiscretePRV

PRV_ERROR = 0.01
"""Error allowed in ε; the upper end is reported."""
DELTA_SHARE = 1e-3
"""Share of δ that truncation and rounding may take, as in Opacus."""
MAX_POINTS = 4_000_000
"""Most grid points, over all segments: within 2 seconds of one core."""
MAX_SEGMENTS = 8
"""Most distinct (q, σ): each costs an integral, whatever the grid."""
MAX_LOSS = 500.0
"""Largest privacy loss of a grid: exp of it must stay a float64."""
MIN_DELTA = 1e-9
"""Least δ: below 1e-11 the rounding of the Fourier transform passes the δ, and PRV under-reports
(by 0.34 at q = 0.02, σ = 1, 2,000 steps and δ = 1e-13)."""
MESH_STEPS = 1000
"""Steps that the mesh is fine enough for, at least. On the coarse mesh that a short history is
allowed, ε was seen to fall by 0.0008 when a step was added; on this one, over 2,000 random
histories, by no more than 0.00002."""
REACH_RATIO = 1.1
"""The range is rounded up to a power of it, so that the rounds of a run share grids."""


@dataclass(frozen=True)
class Grid:
    """2 × ``half`` points, ``mesh`` apart, around a privacy loss of 0."""

    mesh: float
    half: int


def grid_of(history: History, delta: float) -> Grid | None:
    """The grid that a history needs, or ``None`` where it is too large, or δ too small.

    Range and mesh are those of Gopi et al. 2021, remark 5.6, as Opacus takes them, or better; the
    number of points is rounded up to one that Fourier transforms are quick for. Of the range,
    1 / mesh and the number of segments, none falls when steps are added: so neither does what is
    compared with the limits, and a history that is refused stays refused as it grows.
    """
    if delta < MIN_DELTA or len(history) > MAX_SEGMENTS:
        return None
    from scipy.fft import next_fast_len  # slow to import, for a price alone

    steps, error = sum(s.steps for s in history), delta * DELTA_SHARE
    longest = max(rdp_epsilon((replace(s, steps=1),), error / (8 * steps)) for s in history)
    reach = max(rdp_epsilon(history, error / 4), longest, PRV_ERROR) + 3
    if reach > MAX_LOSS:
        return None
    reach = max(reach, REACH_RATIO ** math.ceil(math.log(reach) / math.log(REACH_RATIO)))
    mesh = PRV_ERROR / math.sqrt(max(steps, MESH_STEPS) * math.log(12 / error) / 2)
    if 2 * reach / mesh * len(history) > MAX_POINTS:
        return None
    return Grid(mesh, int(next_fast_len(math.ceil(reach / mesh) + 1, real=True)))


def prv_epsilon(history: History, delta: float, grid: Grid) -> float | None:
    """The upper end of ε, or ``None`` where the numerics fail (seen only above MAX_LOSS).

    The steps are those of Opacus's ``PRVAccountant.get_epsilon``, with the grid given.
    """
    from opacus.accountants.analysis.prv import compose_heterogeneous  # 2 s: for a price alone

    try:
        with np.errstate(all="ignore"):  # log(1 − q) at q = 1
            composed = compose_heterogeneous(
                [_discretized(s.sample_rate, s.noise_multiplier, grid) for s in history],
                [s.steps for s in history],
            )
            _, _, upper = composed.compute_epsilon(delta, delta * DELTA_SHARE, PRV_ERROR)
    except (RuntimeError, ValueError, OverflowError, IndexError):
        return None
    return float(upper) if math.isfinite(upper) else None


@lru_cache(maxsize=8)
def _discretized(sample_rate: float, noise_multiplier: float, grid: Grid) -> DiscretePRV:
    """One step's privacy loss on the grid; kept, since the next round's history shares it."""
    from opacus.accountants.analysis.prv import (
        Domain,
        PoissonSubsampledGaussianPRV,
        TruncatedPrivacyRandomVariable,
        discretize,
    )

    low, high = (1 - grid.half) * grid.mesh, grid.half * grid.mesh  # Opacus: 0 at index half − 1
    loss = PoissonSubsampledGaussianPRV(sample_rate, noise_multiplier)
    truncated = TruncatedPrivacyRandomVariable(loss, low, high)
    return discretize(truncated, Domain(low, high, 2 * grid.half))
