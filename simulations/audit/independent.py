"""Tests of the claimed curve that take the canaries for independent of one another.

That is no extra assumption about the training that is claimed: there, patients are drawn
independently, each coordinate has noise of its own, every canary is clipped to C along its own
coordinate, and no step's contribution of a canary depends on another's. So where one of these
tests rejects, the training is not the one that was claimed; a right one is rejected with at most
the probability said. For an *arbitrary* f-DP training that would not do: it may betray everyone
together with a small probability, and no binomial dominates its count of right guesses.
``one_run.py`` is for those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, betaincinv, ndtri

from simulations.audit.attack import Attack
from simulations.audit.curve import TradeoffCurve, gaussian_epsilon

_P_VALUES = 10.0 ** np.arange(-12.0, 0.01, 0.03)


def interval(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Exact two-sided interval of a probability (Clopper and Pearson 1934), each end ``level``/2.

    Args:
        successes: of ``trials`` independent ones.
        level: probability that the interval misses.
    """
    low = betaincinv(successes, trials - successes + 1, level / 2) if successes else 0.0
    rest = trials - successes
    high = betaincinv(successes + 1, rest, 1 - level / 2) if rest else 1.0
    return float(low), float(high)


def accuracy_p_value(curve: TradeoffCurve, found: Attack) -> tuple[int, float]:
    """Guess every canary by the sign of its score, and count.

    Each guess is right with at most the curve's ``accuracy``, so the count of right ones is at
    most binomial.

    Returns:
        How many were right, and the p-value.
    """
    right = found.right(len(found.scores))
    if right == 0:
        return 0, 1.0
    return right, float(bdtrc(right - 1, len(found.scores), curve.accuracy))


@dataclass(frozen=True)
class Tail:
    """A test of one point of the curve, and what it saw."""

    text: str
    p_value: float


def tail_p_value(curve: TradeoffCurve, found: Attack, threshold: float) -> Tail:
    """Test one point of the curve, where the attacker is surer than at a score of 0.

    Above a ``threshold`` > 0 it says in, below one < 0 out. Rejected at level β is a curve whose
    power at the upper end of the false-alarm rate's interval is under the lower end of the power's
    interval, each one-sided at β/2.

    Returns:
        The least β that rejects, on a grid of 0.03 decades, rounded up.
    """
    said = found.scores > threshold if threshold > 0 else found.scores < threshold
    truth = found.included if threshold > 0 else ~found.included
    hits, alarms = int((said & truth).sum()), int((said & ~truth).sum())
    inside, outside = int(truth.sum()), int((~truth).sum())
    text = f"{hits / inside:.1%} found with {alarms / outside:.2%} false"
    if hits == 0 or alarms == outside:
        return Tail(text, 1.0)
    low = betaincinv(hits, inside - hits + 1, _P_VALUES / 2)
    high = betaincinv(alarms + 1, outside - alarms, 1 - _P_VALUES / 2)
    return Tail(text, float(_P_VALUES[low > curve.power(high)].min(initial=1.0)))


def accuracy_bound(right: int, canaries: int, delta: float, level: float) -> float:
    """Least ε at ``delta`` by the share of right guesses, were the true curve a Gaussian one.

    A Gaussian of shift μ lets Φ(μ/2) of the guesses be right.
    """
    if right == 0:
        return 0.0
    least = float(betaincinv(right, canaries - right + 1, level))
    return gaussian_epsilon(2 * float(ndtri(least)), delta)


@dataclass(frozen=True)
class MeanGap:
    """How far apart the sums of canaries in and out lie, in units of C.

    Attributes:
        gap: mean in − mean out.
        claimed: q × steps, the most that a clip at C and a rate of q allow.
        single, several: the gap of canaries with one image and of those with several.
        shift: the gap over the common standard deviation.
        lower_bound: ε of a Gaussian curve of the least shift left at ``confidence``.
    """

    gap: float
    claimed: float
    single: float
    several: float
    shift: float
    lower_bound: float
    confidence: float


def mean_gap(found: Attack, claimed: float, delta: float, level: float) -> MeanGap:
    """The parametric look: sums taken for normal with equal variances."""
    inside, outside = found.sums[found.included], found.sums[~found.included]
    degrees = len(inside) + len(outside) - 2
    squares = np.square(inside - inside.mean()).sum() + np.square(outside - outside.mean()).sum()
    deviation = max(float(np.sqrt(squares / degrees)), 1e-3)
    gap = float(inside.mean() - outside.mean())
    shift = gap / deviation
    # variance of the standardised difference (Hedges 1981), large samples
    error = np.sqrt(1 / len(inside) + 1 / len(outside) + shift**2 / (2 * degrees))
    least = shift + float(ndtri(level)) * float(error)
    several = found.copies > 1
    return MeanGap(
        gap=gap,
        claimed=claimed,
        single=_gap(found, ~several),
        several=_gap(found, several),
        shift=shift,
        lower_bound=gaussian_epsilon(least, delta),
        confidence=1 - level,
    )


def _gap(found: Attack, among: NDArray[np.bool_]) -> float:
    inside, outside = found.sums[among & found.included], found.sums[among & ~found.included]
    return float(inside.mean() - outside.mean())
