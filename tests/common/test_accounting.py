"""ε against an independent oracle, the contract of composition, and calibration."""

from __future__ import annotations

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from common.errors import PrivacyError
from common.privacy.accounting import (
    MAX_SEGMENTS,
    Segment,
    epsilon,
    merge,
    plan_noise_multiplier,
)

SETTINGS = [
    (0.02, 1.0, 2000, 1e-5),
    (0.02, 1.0, 200, 1e-5),
    (0.01, 0.8, 5000, 1e-5),
    (0.1, 1.0, 100, 1e-4),
    (0.075, 1.49, 800, 1e-5),
    (0.33, 2.9, 200, 1e-5),
    (0.65, 6.9, 300, 1e-5),
    (1.0, 5.0, 10, 1e-5),
]


def oracle(history: list[Segment], delta: float) -> float:
    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4
    )
    for s in history:
        gaussian = dp_accounting.GaussianDpEvent(s.noise_multiplier)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(s.sample_rate, gaussian), s.steps)
    return float(accountant.get_epsilon(delta))


@pytest.mark.parametrize(("q", "sigma", "steps", "delta"), SETTINGS)
def test_prv_is_just_above_the_oracle_and_below_rdp(
    q: float, sigma: float, steps: int, delta: float
) -> None:
    history = [Segment(q, sigma, steps)]
    spent = epsilon(history, delta)
    assert spent.accountant == "prv"
    pld = oracle(history, delta)
    assert pld - 0.001 <= spent.epsilon <= pld + 0.03
    assert spent.epsilon <= epsilon(history, delta, "rdp").epsilon + 0.01


def test_pinned_values() -> None:
    assert epsilon([Segment(0.02, 1.0, 200)], 1e-5).epsilon == pytest.approx(1.863, abs=2e-3)
    assert epsilon([Segment(0.02, 1.0, 2000)], 1e-5, "rdp").epsilon == pytest.approx(
        6.150, abs=5e-3
    )


def test_composition_does_not_depend_on_order_or_on_how_steps_were_split() -> None:
    whole = [Segment(0.1, 1.2, 100), Segment(0.05, 1.0, 50)]
    split = [Segment(0.05, 1.0, 25)] * 2 + [Segment(0.1, 1.2, 10)] * 10
    assert merge(whole) == merge(split)
    assert epsilon(whole, 1e-5) == epsilon(split, 1e-5)
    assert epsilon(whole, 1e-5).epsilon == pytest.approx(oracle(whole, 1e-5), abs=0.03)


def test_epsilon_never_falls_when_steps_are_added() -> None:
    values = [epsilon([Segment(0.1, 1.2, n)], 1e-5).epsilon for n in (0, 1, 10, 20, 40)]
    assert values == sorted(values)
    assert values[0] == 0.0


def test_many_different_segments_fall_back_to_rdp_and_say_so() -> None:
    history = [Segment(0.01 * k, 1.0, 10) for k in range(1, MAX_SEGMENTS + 2)]
    spent = epsilon(history, 1e-5)
    assert spent.accountant == "rdp"
    assert spent.epsilon >= oracle(history, 1e-5) - 1e-3


def test_the_plan_is_the_least_sigma_on_the_grid_that_keeps_the_budget() -> None:
    for target, q, steps in ((8.0, 0.075, 600), (1.0, 0.03, 300), (3.0, 0.5, 50)):
        sigma = plan_noise_multiplier(target, 1e-5, q, steps)
        assert epsilon([Segment(q, sigma, steps)], 1e-5).epsilon <= target
        less = round(sigma - 0.01, 2)
        assert epsilon([Segment(q, less, steps)], 1e-5).epsilon > target
        assert sigma == round(sigma, 2)


def test_an_impossible_budget_is_an_error() -> None:
    with pytest.raises(PrivacyError, match="allow more"):
        plan_noise_multiplier(1e-6, 1e-9, 1.0, 10_000)


@pytest.mark.parametrize(
    "segment",
    [
        Segment(0.1, 1.0, -1),
        Segment(0.0, 1.0, 1),
        Segment(1.1, 1.0, 1),
        Segment(0.1, 0.0, 1),
        Segment(0.1, math.nan, 1),
    ],
)
def test_what_no_accountant_covers_is_refused(segment: Segment) -> None:
    with pytest.raises(PrivacyError, match="no accountant"):
        epsilon([segment], 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5])
def test_delta_must_be_a_probability(delta: float) -> None:
    with pytest.raises(PrivacyError, match="delta"):
        epsilon([Segment(0.1, 1.0, 1)], delta)
