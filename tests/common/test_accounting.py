"""ε against an independent oracle, the contract of composition, and calibration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from common.errors import PrivacyError
from common.privacy import accounting, prv
from common.privacy.accounting import Segment, epsilon, merge, plan_noise_multiplier
from common.privacy.prv import MAX_SEGMENTS, MIN_DELTA, PRV_ERROR

TIGHT = [  # q, σ, steps, δ
    # Usual plans.
    (0.02, 1.0, 2000, 1e-5),
    (0.02, 1.0, 200, 1e-5),
    (0.01, 0.8, 5000, 1e-5),
    (0.1, 1.0, 100, 1e-4),
    (0.114, 1.24, 200, 1e-5),
    (0.075, 1.49, 800, 1e-5),
    (0.33, 2.9, 200, 1e-5),
    (0.65, 6.9, 300, 1e-5),
    (0.5, 10.0, 2000, 1e-6),
    (0.1, 4.0, 20_000, 1e-3),
    # One step, or every unit in each step.
    (0.5, 0.6, 1, 1e-5),
    (0.03, 3.0, 1, 1e-5),
    (1.0, 1.0, 1, 1e-3),
    (1.0, 5.0, 10, 1e-5),
    (1.0, 100.0, 1000, 1e-6),
    (0.9, 2.0, 50, 1e-6),
    # Rare sampling: most steps tell nothing, a few tell much.
    (0.0001, 1.0, 10_000, 1e-5),
    (0.001, 0.6, 100, 1e-6),
    # δ at the edges of what PRV is asked for.
    (0.005, 0.7, 1000, 1e-9),
    (0.33, 2.43, 200, 1e-9),
    (0.05, 0.7, 300, 1e-2),
    (0.4, 1.2, 20, 1e-3),
    # Little noise.
    (0.02, 0.5, 2000, 1e-5),
    (0.2, 0.3, 3, 1e-5),
    (0.074, 0.4, 200, 1e-5),
]
LOOSE = [  # left to RDP: the grid would be too large, the losses too great, or δ too small
    (0.074, 0.4, 3449, 1e-5),
    (0.1, 1.13, 10_000, 1e-5),
    (0.3, 0.9, 3000, 1e-4),
    (1.0, 0.5, 3000, 1e-6),
    (0.02, 1.0, 500, 1e-12),
]


def oracle(history: list[Segment], delta: float) -> float:
    """ε by privacy loss distributions, pessimistic, both ways of adding and removing.

    On a mesh of 5e-4, which is within 0.001 of 1e-4 on the settings above and five times quicker;
    rare sampling needs the finer one.
    """
    mesh = 1e-4 if any(s.sample_rate <= 0.001 for s in history) else 5e-4
    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=mesh
    )
    for s in history:
        gaussian = dp_accounting.GaussianDpEvent(s.noise_multiplier)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(s.sample_rate, gaussian), s.steps)
    return float(accountant.get_epsilon(delta))


def test_thirty_settings_are_compared_with_the_oracle() -> None:
    assert len({*TIGHT, *LOOSE}) == 30


@pytest.mark.parametrize(("q", "sigma", "steps", "delta"), TIGHT)
def test_prv_is_just_above_the_oracle_and_below_rdp(
    q: float, sigma: float, steps: int, delta: float
) -> None:
    history = [Segment(q, sigma, steps)]
    spent = epsilon(history, delta)
    assert spent.accountant == "prv"
    pld = oracle(history, delta)
    assert pld - 0.001 <= spent.epsilon <= pld + 0.03
    assert spent.epsilon <= epsilon(history, delta, "rdp").epsilon + 0.01


@pytest.mark.parametrize(("q", "sigma", "steps", "delta"), LOOSE)
def test_what_is_left_to_rdp_says_so_and_is_above_the_oracle(
    q: float, sigma: float, steps: int, delta: float
) -> None:
    history = [Segment(q, sigma, steps)]
    spent = epsilon(history, delta)
    assert spent == epsilon(history, delta, "rdp")
    assert spent.accountant == "rdp"
    assert spent.epsilon >= oracle(history, delta)


@pytest.mark.parametrize(
    "history",
    [
        [Segment(0.1, 1.2, 100), Segment(0.05, 1.0, 50)],
        [Segment(0.01, 1.0, 500), Segment(0.5, 3.0, 20)],
        [Segment(0.01, 0.5, 100), Segment(1.0, 8.0, 30), Segment(0.2, 1.1, 11)],
    ],
)
def test_prv_of_unequal_steps_is_just_above_the_oracle(history: list[Segment]) -> None:
    pld = oracle(history, 1e-5)
    assert pld - 0.001 <= epsilon(history, 1e-5).epsilon <= pld + 0.03


@pytest.mark.parametrize(
    ("q", "sigma", "steps", "delta", "by_rdp", "by_prv"),
    [
        (0.02, 1.0, 2000, 1e-5, 6.150, 5.626),
        (0.02, 1.0, 200, 1e-5, 2.230, 1.863),
        (0.01, 0.8, 5000, 1e-5, 7.530, 6.852),
        (0.1, 1.0, 100, 1e-4, 6.822, 5.976),
        (0.02, 0.5, 2000, 1e-5, 38.73, 35.12),
    ],
)
def test_pinned_values(
    q: float, sigma: float, steps: int, delta: float, by_rdp: float, by_prv: float
) -> None:
    history = [Segment(q, sigma, steps)]
    assert epsilon(history, delta).epsilon == pytest.approx(by_prv, abs=2e-3)
    assert epsilon(history, delta, "rdp").epsilon == pytest.approx(by_rdp, abs=5e-3)


@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-12])
@pytest.mark.parametrize(("q", "sigma", "steps"), [(0.1, 1.2, 100), (1.0, 0.3, 5), (1e-4, 9.0, 1)])
def test_rdp_is_that_of_opacus_over_all_its_orders(
    q: float, sigma: float, steps: int, delta: float
) -> None:
    history = [Segment(q, sigma, steps), Segment(0.05, 1.0, 50)]
    theirs = RDPAccountant()
    theirs.history = [(s.noise_multiplier, s.sample_rate, s.steps) for s in history]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")
        expected = theirs.get_epsilon(delta)
    assert epsilon(history, delta, "rdp").epsilon == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("q", "sigma", "steps"), [(0.1, 1.2, 100), (1.0, 5.0, 10)])
def test_prv_is_that_of_opacus_to_the_mesh(q: float, sigma: float, steps: int) -> None:
    theirs = PRVAccountant()
    theirs.history = [(sigma, q, steps)]
    with np.errstate(divide="ignore"):
        expected = theirs.get_epsilon(1e-5, eps_error=PRV_ERROR)
    assert epsilon([Segment(q, sigma, steps)], 1e-5).epsilon == pytest.approx(expected, abs=2e-5)


def test_composition_does_not_depend_on_order_or_on_how_steps_were_split() -> None:
    whole = [Segment(0.1, 1.2, 100), Segment(0.05, 1.0, 50)]
    split = [Segment(0.05, 1.0, 25)] * 2 + [Segment(0.1, 1.2, 10)] * 10
    assert merge(whole) == merge(split)
    assert epsilon(whole, 1e-5) == epsilon(split, 1e-5)


def test_nothing_done_costs_nothing() -> None:
    assert epsilon([], 1e-5).epsilon == epsilon([Segment(0.1, 1.2, 0)], 1e-5).epsilon == 0.0


def test_a_cost_below_the_accountants_error_is_not_reported_as_less() -> None:
    assert epsilon([Segment(1e-4, 20.0, 1)], 1e-5).epsilon == 2 * PRV_ERROR


@pytest.fixture
def small_grids(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rule with a limit so low that a test meets it often, and quickly."""
    monkeypatch.setattr(prv, "MAX_POINTS", 200_000)
    accounting._epsilon.cache_clear()
    yield
    accounting._epsilon.cache_clear()


@pytest.mark.parametrize(("q", "sigma"), [(0.1, 1.13), (0.02, 0.6), (1.0, 8.0), (0.0001, 0.3)])
def test_epsilon_never_falls_where_rdp_takes_over_and_prv_never_returns(
    q: float, sigma: float, small_grids: None
) -> None:
    spent = [epsilon([Segment(q, sigma, n)], 1e-5) for n in [0, 1, *range(50, 3000, 150)]]
    values = [s.epsilon for s in spent]
    assert values == sorted(values)
    names = "".join(s.accountant[0] for s in spent)
    assert names.strip("p") == "r" * names.count("r")
    assert 0 < names.count("r") < len(names)


segments = st.builds(
    Segment,
    st.sampled_from([1e-4, 0.003, 0.05, 0.2, 1.0]),
    st.sampled_from([0.4, 0.9, 1.5, 4.0, 20.0]),
    st.integers(1, 300),
)


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    history=st.lists(segments, min_size=1, max_size=3),
    more=segments,
    steps=st.sampled_from([1, 2, 30, 1000]),
    delta=st.sampled_from([1e-3, 1e-5, 1e-8]),
)
def test_epsilon_never_falls_when_steps_are_added(
    history: list[Segment], more: Segment, steps: int, delta: float
) -> None:
    longer = [*history, Segment(more.sample_rate, more.noise_multiplier, steps)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prv, "MAX_POINTS", 200_000)
        accounting._epsilon.cache_clear()
        before, after = epsilon(history, delta), epsilon(longer, delta)
        accounting._epsilon.cache_clear()
    assert after.epsilon >= before.epsilon - PRV_ERROR / 100
    assert before.accountant == "prv" or after.accountant == "rdp"


@pytest.mark.parametrize("q", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("sigma", [0.3, 1.13, 20.0])
def test_the_grid_is_bounded_by_the_history_alone(q: float, sigma: float) -> None:
    sizes = []
    for steps in (1, 100, 10_000, 1_000_000, 10**9):
        grid = prv.grid_of((Segment(q, sigma, steps),), 1e-5)
        sizes.append(math.inf if grid is None else 2 * grid.half)
    assert sizes == sorted(sizes)
    assert all(size == math.inf or size <= 1.05 * prv.MAX_POINTS for size in sizes)
    assert sizes[-1] == math.inf


def test_many_different_segments_fall_back_to_rdp_and_say_so() -> None:
    history = [Segment(0.01, 1 + 0.01 * k, 10) for k in range(MAX_SEGMENTS + 1)]
    assert epsilon(history, 1e-5) == epsilon(history, 1e-5, "rdp")


def test_a_delta_that_the_transform_cannot_resolve_is_left_to_rdp() -> None:
    history = [Segment(0.02, 1.0, 200)]
    assert epsilon(history, MIN_DELTA).accountant == "prv"
    assert epsilon(history, MIN_DELTA / 10).accountant == "rdp"


@pytest.mark.parametrize(
    ("target", "q", "steps", "accountant"),
    [(8.0, 0.075, 600, "prv"), (1.0, 0.03, 300, "prv"), (40.0, 0.02, 50, "prv"),
     (3.0, 0.05, 50, "rdp"), (0.2, 1.0, 1, "prv")],
)  # fmt: skip
def test_the_plan_is_the_least_sigma_on_the_grid_that_keeps_the_budget(
    target: float, q: float, steps: int, accountant: accounting.Accountant
) -> None:
    sigma = plan_noise_multiplier(target, 1e-5, q, steps, accountant)
    assert epsilon([Segment(q, sigma, steps)], 1e-5, accountant).epsilon <= target
    less = round(sigma - 0.01, 2)
    assert epsilon([Segment(q, less, steps)], 1e-5, accountant).epsilon > target
    assert sigma == round(sigma, 2)


def test_a_plan_is_made_on_top_of_what_is_held() -> None:
    held = (Segment(0.05, 1.2, 100),)
    alone = plan_noise_multiplier(3.0, 1e-5, 0.05, 100)
    sigma = plan_noise_multiplier(3.0, 1e-5, 0.05, 100, held=held)
    assert sigma > alone
    assert epsilon([*held, Segment(0.05, sigma, 100)], 1e-5).epsilon <= 3.0
    assert epsilon([*held, Segment(0.05, round(sigma - 0.01, 2), 100)], 1e-5).epsilon > 3.0


def test_what_is_held_can_be_planned_within_although_rdp_alone_would_refuse() -> None:
    held = (Segment(0.02, 1.0, 2000),)
    target = 6.0
    assert epsilon(held, 1e-5, "rdp").epsilon > target
    sigma = plan_noise_multiplier(target, 1e-5, 0.02, 100, held=held)
    assert epsilon([*held, Segment(0.02, sigma, 100)], 1e-5).epsilon <= target
    with pytest.raises(PrivacyError, match="spent already"):
        plan_noise_multiplier(target, 1e-5, 0.02, 100, "rdp", held)


def test_a_target_that_is_spent_already_is_an_error_of_its_own() -> None:
    with pytest.raises(PrivacyError, match=r"ε = 5\.6.*is spent already, above the target of 3"):
        plan_noise_multiplier(3.0, 1e-5, 0.1, 10, held=(Segment(0.02, 1.0, 2000),))


def test_an_impossible_budget_is_an_error() -> None:
    with pytest.raises(PrivacyError, match="allow more"):
        plan_noise_multiplier(1e-6, 1e-9, 1.0, 10_000)


def test_all_sigmas_up_to_the_largest_are_tried() -> None:
    assert 640 < plan_noise_multiplier(0.06, 1e-5, 1.0, 200) <= 1000


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
