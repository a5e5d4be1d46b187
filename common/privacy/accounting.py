"""ε of a history of noisy steps, and the σ that a budget allows.

**Contract.** The mechanism is the Poisson-subsampled Gaussian: each step takes each unit with
probability q, adds noise of standard deviation σ × C to a sum in which one unit counts for at most
C. Neighbouring data sets differ by adding or removing one unit. ε depends on (q, σ, steps) and δ
alone; it never depends on the machine's load, and never falls when a step is added.

PRV (``prv.py``) is the accountant, and RDP (``rdp.py``) takes over where :func:`~prv.grid_of`
refuses the history; the result says which it was. That ε never falls rests on three things:

1. what the rule weighs only grows with the steps, so no longer history returns to PRV;
2. PRV's figure is never taken above RDP's, so the change to RDP is never a step down;
3. below twice PRV's error the figure would be the grid's, not the history's: it is not reported.

What is left is the grid's rounding, below a hundredth of PRV's error (see ``prv.MESH_STEPS``).
Opacus's GDP is asymptotic, and under-reports: it is not offered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from common.errors import PrivacyError
from common.privacy.history import History, Segment, merge
from common.privacy.prv import PRV_ERROR, grid_of, prv_epsilon
from common.privacy.rdp import ORDERS, rdp_epsilon, rdp_epsilon_at

__all__ = [
    "ADJACENCY",
    "Accountant",
    "Segment",
    "Spent",
    "epsilon",
    "filter_epsilon",
    "filter_order",
    "merge",
    "plan_noise_multiplier",
]

Accountant = Literal["prv", "rdp"]

ADJACENCY = "add-or-remove-one"
SIGMA_STEP = 0.01
"""σ is planned on this grid, rounded up, so that plans of one federation merge when composed."""
MAX_SIGMA = 1000.0


@dataclass(frozen=True)
class Spent:
    """ε at a δ, and the accountant that computed it."""

    epsilon: float
    accountant: Accountant


def epsilon(history: Iterable[Segment], delta: float, accountant: Accountant = "prv") -> Spent:
    """ε of a whole history at ``delta``.

    Args:
        history: every step ever taken on the units, in any order.
        delta: δ of the (ε, δ) guarantee.
        accountant: ``prv``, or ``rdp`` for the looser classical bound.

    Returns:
        ε, labelled ``rdp`` where PRV was asked for and the history is left to RDP.

    Raises:
        PrivacyError: on δ outside (0, 1) or an impossible segment.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"delta: expected between 0 and 1, got {delta}")
    return _epsilon(merge(history), delta, accountant)


@lru_cache(maxsize=4096)
def _epsilon(history: History, delta: float, accountant: Accountant) -> Spent:
    if not history:
        return Spent(0.0, accountant)
    bound = rdp_epsilon(history, delta)
    grid = grid_of(history, delta) if accountant == "prv" else None
    tight = None if grid is None else prv_epsilon(history, delta, grid)
    if tight is None:
        return Spent(bound, "rdp")
    return Spent(min(max(tight, 2 * PRV_ERROR), bound), "prv")


def filter_order(epsilon_max: float, delta: float) -> float:
    """The one Rényi order of a filter for a budget: it follows from the budget alone.

    Where a Gaussian mechanism's divergence ρα just spends (ε, δ), the best order is near
    1 + 2 log(1/δ) / ε: half of ε is the divergence's, half the conversion's.
    """
    best = 1 + 2 * math.log(1 / delta) / epsilon_max
    return min(ORDERS, key=lambda order: abs(math.log(order / best)))


def filter_epsilon(history: Iterable[Segment], delta: float, order: float) -> float:
    """ε by one order fixed beforehand, which bounds plans that were chosen on results.

    Compared with a budget fixed beforehand this is the Rényi filter of Feldman and Zrnic 2021
    (https://arxiv.org/abs/2008.11193); without one it is a figure, no guarantee.
    """
    merged = merge(history)
    return rdp_epsilon_at(merged, delta, order) if merged else 0.0


@lru_cache(maxsize=4096)
def plan_noise_multiplier(
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    steps: int,
    accountant: Accountant = "prv",
    held: tuple[Segment, ...] = (),
) -> float:
    """The least σ on the grid of 0.01 whose whole run, on top of ``held``, keeps the target.

    Args:
        target_epsilon: what ``held`` and the run together may cost.
        delta: δ of the guarantee.
        sample_rate: q of the run.
        steps: of the whole run.
        accountant: what the guarantee is reported by.
        held: what the units have paid already; none of it can be taken back.

    Raises:
        PrivacyError: where ``held`` alone costs more, or no σ up to 1,000 is enough.
    """
    before = epsilon(held, delta, accountant)
    if before.epsilon > target_epsilon:
        raise PrivacyError(
            f"ε = {before.epsilon:.3f} at δ={delta:g} ({ADJACENCY}, {before.accountant}) is spent "
            f"already, above the target of {target_epsilon:g}: no noise can undo it; allow more ε"
        )

    def cost(ticks: int) -> float:
        plan = Segment(sample_rate, round(ticks * SIGMA_STEP, 2), steps)
        return epsilon([*held, plan], delta, accountant).epsilon

    most = round(MAX_SIGMA / SIGMA_STEP)
    low, high = 0, round(1 / SIGMA_STEP)
    while cost(high) > target_epsilon:
        if high == most:
            raise PrivacyError(
                f"no noise up to σ={MAX_SIGMA:g} keeps ε ≤ {target_epsilon:g} at δ={delta:g} with "
                f"q={sample_rate:g} and {steps} steps; allow more ε or fewer steps"
            )
        low, high = high, min(2 * high, most)
    while low == 0 and high > 1:  # the first guess was enough: halve it until it is not
        if cost(high // 2) <= target_epsilon:
            high //= 2
        else:
            low = high // 2
    return round(_least(cost, target_epsilon, low, high) * SIGMA_STEP, 2)


def _least(cost: Callable[[int], float], target: float, low: int, high: int) -> int:
    """Least integer in (low, high] whose falling ``cost`` keeps ``target``, as ``high``'s does.

    Cost is near a power of σ, so the line through both ends in logarithms lands close to it; each
    third guess halves what is left, in case it does not.
    """
    turn = 0
    while high - low > 1:
        turn += 1
        guess = (low + high) // 2
        if low > 0 and turn % 3 and math.isfinite(cost(low)):
            share = math.log(cost(low) / target) / math.log(cost(low) / cost(high))
            guess = min(max(round(low * (high / low) ** share), low + 1), high - 1)
        low, high = (low, guess) if cost(guess) <= target else (guess, high)
    return high
