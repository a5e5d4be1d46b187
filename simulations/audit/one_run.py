"""Bounds that hold for any f-DP training whatever, from one run with many canaries.

Nothing is assumed but that the coins are fair and independent: canaries may influence one another
in any way. What is paid for that is power: a training may, within its claim, betray everyone at
once with a small probability, so with a few thousand canaries nearly every guess must be right
before p < 0.001 can be said. (On what one run can show at all see Keinan, Shenfeld and Ligett
2025, "How well can differential privacy be audited in one run?".) ``independent.py`` has the tests
that use more of the claim and see more.

**The claimed curve** (Mahloujifar, Melis and Chaudhuri 2024, "Auditing f-differential privacy in
one run", https://arxiv.org/abs/2410.22235; here for two outcomes and a number of guesses that is
fixed). Of m canaries the attacker guesses k. Let C count the right guesses, p_i = P(C = i), let
F(α) = 1 − f(α) be the largest power at false-alarm rate α, and

    r_i = Σ_{j≥i} (j/m) p_j,    h_i = Σ_{j≥i} ((k − j)/m) p_j.    Then r_i ≤ F(h_{i−1}).    (1)

*Proof of (1).* Fix canary j and all other coins. Let A_b be the outputs at which j is guessed to
be b and at least i − 1 guesses at the others are right. By f-DP in both directions P_b(A_b) ≤
F(P_{1−b}(A_b)). Averaged over the coin b, since F is concave: P(j right, C ≥ i) ≤ F(P(j wrong,
C ≥ i − 1)). Averaged over the other coins and over j, again by concavity, that is (1).

*The recursion.* Suppose P(C ≥ c) ≥ τ. Start with r = τc/m and h = τ(k − c)/m, and for i = c − 1,
…, 0 let h' = max(h, F⁻¹(r)) and r' = r + (h' − h) i/(k − i), the least p_i that (1) allows. If
r + h passes k/m, which is r_0 + h_0, the supposition was false: P(C ≥ c) < τ.

*Why this start is the least.* Write R, H for what truly holds and a_i = i/(k − i), which falls
with i. Truly R ≥ r and R − a_c H ≥ r − a_c h at the start: of what lies above c a larger share of
the guesses is right. Both inequalities pass from i to i − 1: R − a H does not change along a
step with a = a_{i−1}, and as a_{i−1} ≤ a_i it mixes the two that hold; from it R ≥ r follows where
h grew, since there H ≥ F⁻¹(R) ≥ F⁻¹(r) = h', and where h did not grow r did not either. At the last
step at which h grew, R + H ≥ r + h; so the truth passes k/m where the recursion does.

**(ε, δ)** (Steinke, Nasr and Jagielski 2023, "Privacy auditing with one (1) training run",
https://arxiv.org/abs/2305.08846). P(C ≥ v) ≤ P(W ≥ v) + 2mδ max_i P(v − i ≤ W < v)/i with W
binomial of k guesses, each right with probability e^ε/(1 + e^ε).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, ndtr, ndtri

from simulations.audit.curve import TradeoffCurve, gaussian_epsilon

Floats = NDArray[np.float64]
_P_VALUES = 10.0 ** np.arange(-12.0, 0.01, 0.03)
_SHIFTS = np.arange(0.05, 15.0, 0.05)


def curve_p_value(curve: TradeoffCurve, canaries: int, guesses: int, right: int) -> float:
    """Bound on the probability of ``right`` or more right guesses under the claimed curve.

    Returns:
        A p-value on a grid of 0.03 decades, rounded up.
    """
    refuted = _refuted(curve.rate, canaries, guesses, right, _P_VALUES)
    return float(_P_VALUES[refuted].min(initial=1.0))


def curve_bound(canaries: int, guesses: int, right: int, delta: float, level: float) -> float:
    """Least ε at ``delta`` that is left, were the true curve a Gaussian one.

    The largest shift μ that is refuted at ``level``, as ε.
    """

    def rate(power: Floats) -> Floats:
        return np.asarray(ndtr(ndtri(power) - _SHIFTS))

    refuted = _refuted(rate, canaries, guesses, right, np.full(len(_SHIFTS), level))
    run = int(np.argmin(np.append(refuted, False)))  # refuted without a gap from the least on
    return gaussian_epsilon(float(_SHIFTS[run - 1]), delta) if run else 0.0


def _refuted(
    rate: Callable[[Floats], Floats], m: int, k: int, c: int, tau: Floats
) -> NDArray[np.bool_]:
    """The recursion, for many τ (or curves) at once.

    Args:
        rate: F⁻¹, least false-alarm rate at a power, elementwise on (n,).
        m, k, c: canaries, guesses, right guesses.
        tau: float64 (n,).

    Returns:
        bool (n,): P(C ≥ c) < τ.
    """
    r, h = tau * c / m, tau * (k - c) / m
    whole = (k / m) * (1 + 1e-9)
    for i in range(c - 1, -1, -1):
        more = np.maximum(h, rate(np.minimum(r, 1.0)))
        r, h = r + (more - h) * (i / (k - i)), more
        if (r + h > whole).all():
            break
    return np.asarray(r + h > whole)


def steinke_p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Bound on the probability of ``right`` or more right guesses under (ε, δ)-DP."""
    if right == 0:
        return 1.0
    chance = 1 / (1 + np.exp(-epsilon))
    below = bdtr(right - 1, guesses, chance)
    fewer = right - 1 - np.arange(1, right + 1)  # v − i − 1 for i = 1 … v
    at_most = np.where(fewer >= 0, bdtr(np.maximum(fewer, 0), guesses, chance), 0.0)
    steepest = float(((below - at_most) / np.arange(1, right + 1)).max())
    tail = float(bdtrc(right - 1, guesses, chance))
    return min(1.0, tail + 2 * canaries * delta * steepest)


def steinke_bound(canaries: int, guesses: int, right: int, delta: float, level: float) -> float:
    """Largest ε that is refuted at ``level``, to 1e-4; 0 where none is."""

    def refuted(epsilon: float) -> bool:
        return steinke_p_value(canaries, guesses, right, epsilon, delta) <= level

    low, high = 0.0, 1.0
    if not refuted(low):
        return 0.0
    while refuted(high):
        low, high = high, high * 2
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
