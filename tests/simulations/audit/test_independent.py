"""The tests that use independence: how often they reject what is exactly as claimed, and power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from client.cohort import Cohort
from common.privacy.accounting import Segment
from simulations.audit.attack import Attack, attack
from simulations.audit.canaries import Canaries, lay_out
from simulations.audit.claim import Claim
from simulations.audit.curve import TradeoffCurve, claimed_curve
from simulations.audit.independent import (
    accuracy_bound,
    accuracy_p_value,
    interval,
    mean_gap,
    tail_p_value,
)
from simulations.audit.one_run import curve_p_value

RNG = np.random.default_rng


def gaussian_attack(rng: np.random.Generator, mu: float, canaries: int) -> Attack:
    """The best attack on a Gaussian of shift μ: exactly on its curve."""
    included = rng.random(canaries) < 0.5
    x = rng.standard_normal(canaries) + mu * included
    return Attack(included, 1 + 2 * (np.arange(canaries) % 2), mu * x - mu**2 / 2, x)


def test_a_mechanism_exactly_at_the_claimed_curve_is_rarely_rejected() -> None:
    """600 times: p < 0.05 is a binomial of mean at most 30, standard deviation 5.3."""
    curve, rng = claimed_curve(Segment(1.0, 10.0, 225)), RNG(1)  # μ = 1.5
    accuracy, surely_in, surely_out, coins = [], [], [], []
    for _ in range(600):
        found = gaussian_attack(rng, 1.5, 512)
        accuracy.append(accuracy_p_value(curve, found)[1])
        surely_in.append(tail_p_value(curve, found, 2.0).p_value)
        surely_out.append(tail_p_value(curve, found, -2.0).p_value)
    for _ in range(20):
        found = gaussian_attack(rng, 1.5, 512)
        coins.append(curve_p_value(curve, 512, 64, found.right(64)))
    assert 5 <= sum(p < 0.05 for p in accuracy) <= 47
    assert sum(p < 0.05 for p in surely_in) <= 47
    assert sum(p < 0.05 for p in surely_out) <= 47
    assert min(coins) > 0.01
    assert min(accuracy + surely_in + surely_out) > 0.001 / 8


def test_the_attack_on_sampled_noise_reaches_its_curve_and_no_more(
    claim: Claim, curve: TradeoffCurve
) -> None:
    """Steps simulated apart from the build: 60 runs of 512 canaries, half of them in."""
    rng = RNG(2)
    accuracies, p_values = [], []
    for _ in range(60):
        found = attack(*simulated(rng, claim, 512), claim)
        right, p_value = accuracy_p_value(curve, found)
        accuracies.append(right / 512)
        p_values.append(p_value)
    # the standard error of the mean is 0.0024
    assert np.mean(accuracies) == pytest.approx(curve.accuracy, abs=0.009)
    assert sum(p < 0.05 for p in p_values) <= 9
    assert min(p_values) > 0.001 / 8


def simulated(
    rng: np.random.Generator, claim: Claim, count: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], Canaries]:
    canvas = lay_out(count, 0)
    included = rng.random(count) < 0.5
    seen = claim.noise_multiplier * rng.standard_normal((claim.steps, canvas.size**2))
    drawn = (rng.random((claim.steps, count)) < claim.sample_rate) & included
    seen[:, canvas.canary_pixels] += drawn
    nobody = Cohort(
        np.zeros((0, 1, 1, 1), np.uint8), np.zeros((0, 1), np.float32), np.zeros(0, np.int64), ()
    )
    return seen, Canaries(included, np.ones(count, np.int64), canvas, nobody)


def test_a_shift_larger_than_claimed_is_rejected() -> None:
    curve = claimed_curve(Segment(1.0, 10.0, 225))  # μ = 1.5
    found = gaussian_attack(RNG(3), 2.2, 4096)
    assert accuracy_p_value(curve, found)[1] < 1e-9
    assert tail_p_value(curve, found, 3.0).p_value < 1e-4
    assert tail_p_value(curve, found, -3.0).p_value < 1e-4


def test_the_interval_is_the_exact_one() -> None:
    for successes, trials in ((0, 50), (3, 50), (25, 50), (50, 50)):
        exact = binomtest(successes, trials).proportion_ci(0.95, method="exact")
        assert interval(successes, trials, 0.05) == pytest.approx((exact.low, exact.high))


def test_lower_bounds_stay_below_the_truth() -> None:
    """μ = 1.5 is ε = 7.0 at δ = 1e-5."""
    rng = RNG(4)
    for _ in range(50):
        found = gaussian_attack(rng, 1.5, 2048)
        gap = mean_gap(found, 20.0, 1e-5, 0.001)
        assert gap.shift == pytest.approx(1.5, abs=0.25)
        assert 4.5 < gap.lower_bound < 7.2
        assert 4.5 < accuracy_bound(found.right(2048), 2048, 1e-5, 0.001) < 7.2


def test_guesses_are_of_the_surest_first() -> None:
    scores = np.array([5.0, -4.0, 0.5, -0.1, 3.0, -6.0])
    included = np.array([True, False, False, True, True, True])
    found = Attack(included, np.ones(6, np.int64), scores, scores)
    assert found.right(2) == 1  # in: 5.0 right; out: −6.0 wrong
    assert found.right(4) == 3  # and 3.0 right, −4.0 right
    assert found.right(6) == 3  # and 0.5 wrong, −0.1 wrong
