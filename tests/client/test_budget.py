"""What a ledger's entries cost, and the cap: the odometer and the filter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client.budget import (
    admit,
    left_of_cap,
    next_intent,
    next_release,
    segments,
    spent,
    spent_at_half,
    spent_on_release,
)
from client.entries import Charge, Entry, Genesis, Intent, Plan
from client.policy import Policy
from common.errors import BudgetError, PolicyError
from common.privacy.accounting import Segment, epsilon, filter_epsilon, filter_order
from common.privacy.prv import MAX_SEGMENTS

DELTA = 1e-5
OPEN = Policy("exact", public_patients=100)
GENESIS = Genesis("clinic", "split", "nonce")


def charge(rounds: int, sigma: float = 1.13, unit: str = "patient") -> Charge:
    return Charge(unit, 0.1, sigma, 1.0, 10 * rounds)


def train(
    entries: list[Entry], run_id: str, asked: Charge, policy: Policy = OPEN, rounds: int = 1
) -> Plan:
    """Admit a run and begin it."""
    plan = admit(entries, run_id, asked, 10, DELTA, policy, "prv")
    entries.append(plan)
    for number in range(1, rounds + 1):
        entries.append(next_intent(entries, plan, number, f"{run_id} {number}", 10))
    return plan


def capped(epsilon_max: float) -> Policy:
    return Policy("exact", public_patients=100, epsilon_max=epsilon_max, delta=DELTA)


def test_rounds_restarts_and_a_new_run_id_compose_to_the_single_figure() -> None:
    entries: list[Entry] = [GENESIS]
    values = [spent(entries, DELTA).epsilon]
    for run in range(3):
        train(entries, f"run {run}", charge(4), rounds=0)
        for number in range(1, 5):
            entries.append(next_intent(entries, entries[-number], number, "r", 10))  # type: ignore[arg-type]
            values.append(spent(entries, DELTA).epsilon)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(epsilon([Segment(0.1, 1.13, 120)], DELTA).epsilon, abs=0.02)


def test_a_plan_is_spent_once_it_is_begun() -> None:
    """A run stopped after one round of twenty, on seeing its result, costs twenty."""
    entries: list[Entry] = [GENESIS]
    train(entries, "run", charge(20), rounds=1)
    assert spent(entries, DELTA) == epsilon([Segment(0.1, 1.13, 200)], DELTA)


def test_no_plan_is_passed() -> None:
    entries: list[Entry] = [GENESIS]
    plan = train(entries, "run", charge(3), rounds=3)
    with pytest.raises(BudgetError, match="30 of the 30 steps"):
        next_intent(entries, plan, 4, "r", 10)


def test_the_cap_cuts_a_plan_to_the_rounds_that_it_allows() -> None:
    whole = epsilon([Segment(0.1, 1.13, 200)], DELTA).epsilon
    plan = admit([GENESIS], "run", charge(20), 10, DELTA, capped(whole), "prv")
    assert plan.charge.steps == 200
    plan = admit([GENESIS], "run", charge(20), 10, DELTA, capped(whole - 1), "prv")
    steps = plan.charge.steps
    assert 0 < steps < 200
    assert epsilon([Segment(0.1, 1.13, steps)], DELTA).epsilon <= whole - 1
    assert epsilon([Segment(0.1, 1.13, steps + 10)], DELTA).epsilon > whole - 1
    assert admit([GENESIS], "run", charge(20), 10, DELTA, capped(0.1), "prv").charge.steps == 0


def filtered(entries: list[Entry], cap: float) -> float:
    return filter_epsilon(segments(entries), DELTA, filter_order(cap, DELTA))


def test_a_plan_chosen_after_training_is_admitted_on_the_rdp_sum() -> None:
    entries: list[Entry] = [GENESIS]
    assert train(entries, "one", charge(10)).adaptive is False
    assert admit(entries, "two", charge(10), 10, DELTA, OPEN, "prv").adaptive is True
    by_prv = epsilon([Segment(0.1, 1.13, 200)], DELTA).epsilon
    cap = by_prv + 0.3  # enough by PRV, and not by the filter
    cut = admit(entries, "two", charge(10), 10, DELTA, capped(cap), "prv")
    assert cut.charge.steps < 100
    assert filtered([*entries, cut], cap) <= cap
    more = replace(cut, charge=replace(cut.charge, steps=cut.charge.steps + 10))
    assert filtered([*entries, more], cap) > cap
    assert admit(entries, "two", charge(10), 10, DELTA, capped(12.0), "prv").charge.steps == 100


def test_the_filters_order_follows_from_the_budget_alone_and_costs_little() -> None:
    assert filter_order(8.0, 1e-5) == filter_order(8.0, 1e-5) > 1
    for segment in (Segment(0.1, 1.13, 200), Segment(0.02, 1.0, 2000), Segment(1.0, 5.0, 10)):
        best = epsilon([segment], DELTA, "rdp").epsilon
        at_one_order = filter_epsilon([segment], DELTA, filter_order(best, DELTA))
        assert best <= at_one_order < 1.15 * best


def test_plans_reserved_before_any_training_are_fixed_beforehand() -> None:
    entries: list[Entry] = [GENESIS]
    train(entries, "one", charge(10), rounds=0)
    assert train(entries, "two", charge(10), rounds=0).adaptive is False


def test_the_cap_holds_over_many_runs_of_any_kind() -> None:
    entries: list[Entry] = [GENESIS]
    policy = capped(6.0)
    for number in range(12):
        asked = charge(1 + number % 5, sigma=1.0 + 0.1 * (number % 3))
        plan = admit(entries, str(number), asked, 10, DELTA, policy, "prv")
        if plan.charge.steps:
            entries += [plan, Intent(str(number), 1, "r", 10)]
        if any(p.adaptive for p in entries if isinstance(p, Plan)):
            assert filtered(entries, 6.0) <= 6.0
        assert spent(entries, DELTA).epsilon <= 6.0
    assert sum(isinstance(e, Plan) for e in entries) > 1


def test_once_priced_by_rdp_always_priced_by_rdp() -> None:
    entries: list[Entry] = [GENESIS]
    values = []
    for number in range(MAX_SEGMENTS + 2):  # one more distinct σ is PRV's end
        train(entries, str(number), charge(1, sigma=3.0 + 0.1 * number))
        values.append(spent(entries, DELTA))
    assert [v.accountant for v in values] == ["prv"] * MAX_SEGMENTS + ["rdp"] * 2
    assert [v.epsilon for v in values] == sorted(v.epsilon for v in values)
    assert [e.accountant for e in entries if isinstance(e, Plan)][-1] == "rdp"

    asked_for_rdp: list[Entry] = [
        GENESIS, Plan("run", charge(1), DELTA, "rdp", False),
    ]  # fmt: skip
    assert spent(asked_for_rdp, DELTA, "prv").accountant == "rdp"


def test_units_never_mix() -> None:
    entries: list[Entry] = [GENESIS]
    train(entries, "run", charge(1))
    with pytest.raises(PolicyError, match="units never mix"):
        admit(entries, "other", charge(1, unit="image"), 10, DELTA, OPEN, "prv")


def test_a_recovered_ledger_starts_with_its_charge_at_its_own_delta() -> None:
    entries: list[Entry] = [Genesis("clinic", "split", "nonce", 8.0, DELTA / 2, 1, "disk lost")]
    assert spent(entries, DELTA).epsilon == 8.0
    train(entries, "run", charge(20))
    rest = epsilon([Segment(0.1, 1.13, 200)], DELTA / 2).epsilon
    assert spent(entries, DELTA).epsilon == 8.0 + rest
    assert entries[1].adaptive is True  # type: ignore[union-attr]
    with pytest.raises(PolicyError, match="only a larger δ"):
        spent(entries, DELTA / 2)
    assert spent_at_half(entries, DELTA, "prv") > spent(entries, DELTA).epsilon
    assert admit(entries[:1], "run", charge(20), 10, DELTA, capped(8.5), "prv").charge.steps == 0
    assert left_of_cap(entries[:1], capped(8.5)) == pytest.approx(0.5)
    releases = Policy("noised", public_patients=100, delta=DELTA, evaluation_epsilon=2.0)
    with pytest.raises(BudgetError, match="1 of 1"):
        next_release(entries, "run", 1, "r", "patient", releases)


def test_noised_releases_have_their_own_budget_and_their_number() -> None:
    policy = Policy(
        "noised", public_patients=100, delta=DELTA, evaluation_epsilon=2.0, evaluation_releases=2
    )
    entries: list[Entry] = [GENESIS]
    train(entries, "run", charge(2))
    before = spent(entries, DELTA)
    for number in (1, 2):
        entries.append(next_release(entries, "run", number, "r", "patient", policy))
    assert spent(entries, DELTA) == before
    assert 1.8 < epsilon([Segment(1.0, entries[-1].noise_multiplier, 1)], DELTA).epsilon <= 2.0  # type: ignore[union-attr]
    assert 2.0 < spent_on_release(entries, DELTA).epsilon < 4.0
    with pytest.raises(BudgetError, match="2 of 2"):
        next_release(entries, "run", 3, "r", "patient", policy)
