"""The bounds that assume nothing but the coins, against oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binom

from common.privacy.accounting import Segment
from simulations.audit.curve import TradeoffCurve, claimed_curve, gaussian_epsilon
from simulations.audit.one_run import (
    curve_bound,
    curve_p_value,
    steinke_bound,
    steinke_p_value,
)

GRID = 10**0.03 * (1 + 1e-6)
"""The p-value's own grid, rounded up."""


def pure_curve(epsilon: float, delta: float) -> TradeoffCurve:
    """The curve of (ε, δ)-DP: two lines."""
    corner = (1 - delta) / (1 + math.exp(epsilon))
    return TradeoffCurve(np.array([0.0, corner, 1 - delta]), np.array([delta, 1 - corner, 1.0]))


def largest_by_linear_programme(curve: TradeoffCurve, m: int, k: int, c: int) -> float:
    """The largest P(C ≥ c) that the inequalities leave, a line of the curve each, solved."""
    slopes = np.diff(curve.powers) / np.diff(curve.rates)
    offsets = curve.powers[:-1] - slopes * curve.rates[:-1]
    counts = np.arange(k + 1)
    rows, limits = [], []
    for i in range(1, k + 1):
        right = np.where(counts >= i, counts / m, 0.0)
        wrong = np.where(counts >= i - 1, (k - counts) / m, 0.0)
        for slope, offset in zip(slopes, offsets, strict=True):
            rows.append(right - slope * wrong)
            limits.append(offset)
    found = linprog(
        -(counts >= c).astype(float),
        A_ub=np.array(rows),
        b_ub=np.array(limits),
        A_eq=np.ones((1, k + 1)),
        b_eq=[1.0],
        bounds=(0, 1),
        method="highs",
    )
    return float(-found.fun)


@pytest.mark.parametrize(("m", "k"), [(12, 12), (30, 30), (30, 10), (40, 16)])
@pytest.mark.parametrize("which", ["pure", "with delta", "two corners"])
def test_the_recursion_solves_the_linear_programme(m: int, k: int, which: str) -> None:
    curve = {
        "pure": pure_curve(1.0, 0.0),
        "with delta": pure_curve(1.0, 0.01),
        "two corners": TradeoffCurve(
            np.array([0.0, 0.05, 0.2, 0.5, 0.7, 0.98]),
            np.array([0.02, 0.3, 0.5, 0.8, 0.95, 1.0]),
        ),
    }[which]
    for right in (k, k - 1, k - 2, int(0.8 * k), k // 2):
        exact = largest_by_linear_programme(curve, m, k, right)
        bound = curve_p_value(curve, m, k, right)
        assert exact * (1 - 1e-6) <= bound <= max(exact, 1e-12) * GRID


def test_under_pure_privacy_the_recursion_is_near_the_binomial_tail() -> None:
    """Randomised response attains e^ε / (1 + e^ε) at every canary, and nothing does better."""
    curve, chance = pure_curve(2.0, 0.0), math.exp(2) / (1 + math.exp(2))
    for right in (450, 460, 470, 480, 490):
        exact = float(binom.sf(right - 1, 500, chance))
        assert exact <= curve_p_value(curve, 500, 500, right) <= max(1e-12, 1.35 * exact)


@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_independent_gaussians_stay_under_the_bound(mu: float) -> None:
    curve = claimed_curve(Segment(1.0, 10.0, round((10 * mu) ** 2)))
    chance = float(binom.sf(0, 1, 0.5 * (1 + math.erf(mu / 2 / math.sqrt(2)))))
    for right in range(100, 201, 10):
        exact = float(binom.sf(right - 1, 200, chance))
        assert curve_p_value(curve, 200, 200, right) >= exact


def test_a_training_that_betrays_everyone_now_and_then_keeps_its_claim() -> None:
    """With probability δ it tells every coin: (0, δ)-DP, and no binomial bounds its count."""
    delta, m = 0.05, 100
    honest = delta + (1 - delta) * 2.0**-m
    assert float(binom.sf(m - 1, m, 0.5 + delta / 2)) < 1e-20
    assert honest <= curve_p_value(pure_curve(0.0, delta), m, m, m) < 3 * honest
    assert steinke_p_value(m, m, m, 0.0, delta) >= honest


def test_steinke_et_al_against_their_own_loop() -> None:
    """Their appendix adds the masses up one by one."""
    for m, k, right, epsilon, delta in (
        (1000, 100, 95, 2.0, 1e-5),
        (4096, 512, 500, 1.0, 1e-5),
        (300, 300, 200, 0.3, 1e-3),
    ):
        chance = 1 / (1 + math.exp(-epsilon))
        steepest = mass = 0.0
        for i in range(1, right + 1):
            mass += float(binom.pmf(right - i, k, chance))
            steepest = max(steepest, mass / i)
        exact = min(1.0, float(binom.sf(right - 1, k, chance)) + steepest * delta * 2 * m)
        assert steinke_p_value(m, k, right, epsilon, delta) == pytest.approx(exact, rel=1e-9)


def test_steinkes_bound_is_where_its_p_value_meets_the_level() -> None:
    bound = steinke_bound(4096, 512, 500, 1e-5, 0.001)
    assert steinke_p_value(4096, 512, 500, bound, 1e-5) <= 0.001
    assert steinke_p_value(4096, 512, 500, bound + 0.001, 1e-5) > 0.001
    assert steinke_bound(100, 100, 50, 1e-5, 0.001) == 0.0
    assert steinke_p_value(100, 100, 0, 1.0, 1e-5) == 1.0


def test_the_gaussian_bound_agrees_with_the_p_value_of_its_curve() -> None:
    m, k, right, level = 1024, 256, 250, 0.001
    bound = curve_bound(m, k, right, 1e-5, level)
    shifts = np.arange(0.05, 3.0, 0.05)
    below = max(mu for mu in shifts if gaussian_epsilon(mu, 1e-5) <= bound + 1e-5)
    for mu, refuted in ((below - 0.05, True), (below + 0.2, False)):
        curve = claimed_curve(Segment(1.0, 10.0 / mu, 100))
        assert (curve_p_value(curve, m, k, right) <= level) == refuted
    assert curve_bound(m, k, k // 2, 1e-5, level) == 0.0
    assert bound < curve_bound(m, k, k, 1e-5, level)
