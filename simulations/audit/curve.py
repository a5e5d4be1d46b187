"""The trade-off curve of a whole training: the most that a test for one patient can achieve.

A test for "was this patient in?" that raises a false alarm with probability α cannot succeed with
more than a certain *power*, 1 − f(α); f is the trade-off function of Dong, Roth and Su (2022,
"Gaussian differential privacy", https://arxiv.org/abs/1905.02383). A curve and a whole family
δ(ε), for adding and for removing, say the same (their proposition 2.12): f(α) = max over ε ≥ 0 of
max(0, 1 − δ(ε) − e^ε α, e^−ε (1 − δ(ε) − α)).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from opacus.accountants import PRVAccountant
from scipy.special import log_ndtr, ndtr, ndtri

from common.privacy.accounting import Segment

EPSILON_ERROR = 0.005
DELTA_ERROR = 1e-9
EPSILON_STEP = 0.005

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TradeoffCurve:
    """A concave, symmetric curve of largest power against false-alarm rate, by its corners.

    Attributes:
        rates: float64 (V,), rising: false-alarm rates α.
        powers: float64 (V,), rising: 1 − f(α). Between corners the curve is a straight line.
    """

    rates: Floats
    powers: Floats

    def power(self, rate: ArrayLike) -> Floats:
        """Largest power at a false-alarm rate."""
        asked = np.asarray(rate, dtype=np.float64)
        return np.asarray(np.interp(asked, self.rates, self.powers))

    def rate(self, power: ArrayLike) -> Floats:
        """Least false-alarm rate at a power; 0 for what δ alone allows."""
        asked = np.asarray(power, dtype=np.float64)
        least = np.interp(asked, self.powers, self.rates)
        return np.where(asked <= self.powers[0], 0.0, least)

    def score(self, rate: float) -> float:
        """The log-likelihood ratio that the best test takes as its threshold at ``rate``.

        It is the logarithm of the curve's slope there (Neyman and Pearson 1933).
        """
        low, high = 0.9 * rate, 1.1 * rate
        rise = float(self.power(high)) - float(self.power(low))
        return float(np.log(rise / (high - low)))

    @property
    def accuracy(self) -> float:
        """Largest probability of a right guess where in and out are equally likely."""
        return float(0.5 + 0.5 * (self.powers - self.rates).max())


def claimed_curve(segment: Segment) -> TradeoffCurve:
    """An upper bound on the curve of a composed Poisson-subsampled Gaussian.

    δ(ε) is the upper end of what Opacus's PRV guarantees (Gopi, Lee and Wutschitz 2021: the true
    δ(ε) is at most the discrete δ(ε − ε_error) + δ_error) for removing a patient, which at ε ≥ 0
    is no less than for adding one. Fewer ε only raise the power. So the curve never allows less
    than the claim does; a test sets it beside Google's accountant.
    """
    epsilons, deltas = _delta_of_epsilon(segment)
    odds = np.exp(epsilons)
    # the lines 1 − f = δ + e^ε α of neighbouring ε meet at the corners
    rates = (deltas[:-1] - deltas[1:]) / (odds[1:] - odds[:-1])
    powers = deltas[:-1] + odds[:-1] * rates
    rates = np.concatenate([[0.0], rates[::-1]])
    powers = np.concatenate([[deltas[-1]], powers[::-1]])
    return TradeoffCurve(
        rates=np.concatenate([rates, (1 - powers)[::-1]]),
        powers=np.concatenate([powers, (1 - rates)[::-1]]),
    )


def gaussian_power(rate: ArrayLike, mu: ArrayLike) -> Floats:
    """The curve of a Gaussian of shift μ: 1 − G_μ(α) = Φ(Φ⁻¹(α) + μ) (Dong et al., eq. 6)."""
    return np.asarray(ndtr(ndtri(rate) + mu))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """ε at ``delta`` of a Gaussian curve of shift μ (Dong et al., corollary 2.13), to 1e-6."""
    if mu <= 0 or _gaussian_delta(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while _gaussian_delta(high, mu) > delta:
        high *= 2
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(middle, mu) > delta else (low, middle)
    return high


def _gaussian_delta(epsilon: float, mu: float) -> float:
    rest = np.exp(epsilon + log_ndtr(-epsilon / mu - mu / 2))
    return float(ndtr(-epsilon / mu + mu / 2) - rest)


def _delta_of_epsilon(segment: Segment) -> tuple[Floats, Floats]:
    """ε on a grid from 0, and an upper bound on δ at each, as far as δ can be told from 0."""
    accountant = PRVAccountant()
    accountant.history = [(segment.noise_multiplier, segment.sample_rate, segment.steps)]
    with np.errstate(divide="ignore"), warnings.catch_warnings():  # log(1 − q) at q = 1
        # RDP sizes the grid; an order at the edge of its range only makes that larger
        warnings.filterwarnings("ignore", message="Optimal order is the")
        loss = accountant._get_dprv(eps_error=EPSILON_ERROR, delta_error=DELTA_ERROR)
    at, mass = loss.domain.ts, np.maximum(loss.pmf, 0.0)
    # δ(ε) = Σ over losses t > ε of p(t) (1 − e^(ε − t)), summed from the right
    above = np.cumsum(mass[::-1])[::-1]
    weighted = np.cumsum((mass * np.exp(-at))[::-1])[::-1]
    epsilons = np.arange(0.0, at[-1], EPSILON_STEP)
    asked = epsilons - EPSILON_ERROR
    first = np.searchsorted(at, asked, side="right")
    discrete = above[first] - np.exp(asked) * weighted[first]
    told = discrete > DELTA_ERROR / 10  # below it, rounding in the transform shows
    return epsilons[told], np.minimum(discrete[told] + DELTA_ERROR, 1.0)
