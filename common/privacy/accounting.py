"""ε of a history of noisy steps, and the σ that a budget allows.

**Contract.** The mechanism is the Poisson-subsampled Gaussian: each step takes each unit with
probability q, adds noise of standard deviation σ × C to a sum in which one unit counts for at most
C. Neighbouring data sets differ by adding or removing one unit. ε depends on (q, σ, steps) and δ
alone; it never depends on the machine's load, and never decreases when a step is added.

PRV (Gopi, Lee and Wutschitz 2021, https://arxiv.org/abs/2106.02848) is the accountant. Where the
history holds more than :data:`MAX_SEGMENTS` distinct (q, σ), or PRV's numerics fail on it, RDP
(Mironov 2017) takes over by a rule of the history, and the result says so. Opacus's GDP is
asymptotic, and under-reports: it is not offered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from opacus.accountants import PRVAccountant, RDPAccountant

from common.errors import PrivacyError

Accountant = Literal["prv", "rdp"]

ADJACENCY = "add-or-remove-one"
MAX_SEGMENTS = 8
SIGMA_STEP = 0.01
"""σ is planned on this grid, rounded up, so that plans of one federation merge when composed."""
MAX_SIGMA = 1000.0
PRV_ERROR = 0.01
"""Error allowed in PRV's ε; the upper end is reported."""


@dataclass(frozen=True, order=True)
class Segment:
    """``steps`` equal steps with one sample rate q and one noise multiplier σ."""

    sample_rate: float
    noise_multiplier: float
    steps: int


@dataclass(frozen=True)
class Spent:
    """ε at a δ, and the accountant that computed it."""

    epsilon: float
    accountant: Accountant


def merge(history: Iterable[Segment]) -> tuple[Segment, ...]:
    """Add up the steps of equal (q, σ), in a canonical order; composition does not depend on order.

    Raises:
        PrivacyError: on a segment that no accountant covers.
    """
    steps: dict[tuple[float, float], int] = {}
    for segment in history:
        _check(segment)
        key = (segment.sample_rate, segment.noise_multiplier)
        steps[key] = steps.get(key, 0) + segment.steps
    return tuple(sorted(Segment(q, sigma, n) for (q, sigma), n in steps.items() if n > 0))


def epsilon(history: Iterable[Segment], delta: float, accountant: Accountant = "prv") -> Spent:
    """ε of a whole history at ``delta``.

    Args:
        history: every step ever taken on the units, in any order.
        delta: δ of the (ε, δ) guarantee.
        accountant: ``prv``, or ``rdp`` for the looser classical bound.

    Raises:
        PrivacyError: on δ outside (0, 1) or an impossible segment.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"delta: expected between 0 and 1, got {delta}")
    return _epsilon(merge(history), delta, accountant)


@lru_cache(maxsize=4096)
def _epsilon(history: tuple[Segment, ...], delta: float, accountant: Accountant) -> Spent:
    if not history:
        return Spent(0.0, accountant)
    as_opacus = [(s.noise_multiplier, s.sample_rate, s.steps) for s in history]
    if accountant == "prv" and len(history) <= MAX_SEGMENTS:
        prv = PRVAccountant()
        prv.history = as_opacus
        try:
            with np.errstate(divide="ignore"):  # log(1 − q) at q = 1
                value = float(prv.get_epsilon(delta, eps_error=PRV_ERROR))
        except (RuntimeError, ValueError, OverflowError):
            value = math.nan
        if math.isfinite(value):
            return Spent(value, "prv")
    rdp = RDPAccountant()
    rdp.history = as_opacus
    with warnings.catch_warnings():  # an order at the edge of its range is loose, never wrong
        warnings.filterwarnings("ignore", message="Optimal order is the")
        return Spent(float(rdp.get_epsilon(delta)), "rdp")


@lru_cache(maxsize=4096)
def plan_noise_multiplier(
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: Accountant = "prv",
) -> float:
    """The least σ on the grid of 0.01 whose whole run stays within ``target_epsilon``.

    RDP, which is quick and never below PRV by more than its error, brackets from above; the last
    steps down are taken with the accountant that will be reported.

    Raises:
        PrivacyError: where no σ up to 1,000 is enough.
    """

    def within(ticks: int, by: Accountant) -> bool:
        segment = Segment(sample_rate, round(ticks * SIGMA_STEP, 2), steps)
        return epsilon([segment], delta, by).epsilon <= target_epsilon

    low, high = 0, 1
    while not within(high, "rdp"):
        low, high = high, high * 2
        if high * SIGMA_STEP > MAX_SIGMA:
            raise PrivacyError(
                f"no noise up to σ={MAX_SIGMA:g} keeps ε ≤ {target_epsilon:g} at δ={delta:g} with "
                f"q={sample_rate:g} and {steps} steps; allow more ε or fewer steps"
            )
    high = _bisect(lambda ticks: within(ticks, "rdp"), low, high)
    if accountant == "rdp":
        return round(high * SIGMA_STEP, 2)
    while not within(high, "prv"):  # PRV's error may put it a hair above RDP
        high += 1
    stride, low = 1, high - 1
    while low > 0 and within(low, "prv"):
        high, stride = low, stride * 2
        low = max(0, high - stride)
    return round(_bisect(lambda ticks: within(ticks, "prv"), low, high) * SIGMA_STEP, 2)


def _bisect(good: Callable[[int], bool], low: int, high: int) -> int:
    """Least integer in (low, high] for which ``good`` holds; it holds at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


def _check(segment: Segment) -> None:
    if (
        0 < segment.sample_rate <= 1
        and math.isfinite(segment.noise_multiplier)
        and segment.noise_multiplier > 0
        and segment.steps >= 0
    ):
        return
    raise PrivacyError(f"no accountant covers {segment}: expected 0 < q ≤ 1, σ > 0, steps ≥ 0")
