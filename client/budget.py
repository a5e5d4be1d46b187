"""What a ledger's entries cost, and what may still be added: the odometer and the filter.

Every plan is priced whole from the moment it is reserved: a run that is stopped on seeing results
has spent its plan. Rounds are charged against their plan, and cannot pass it.

A plan that was fixed before any training is priced by the accountant asked for (PRV). One chosen
later may depend on what came before, so it is admitted only while the sum of the Rényi divergences
at one order keeps the cap: for that sum, under a budget fixed beforehand, composition is proven
even when each plan is chosen on the results of the last (Feldman and Zrnic 2021, theorem on Rényi
filters, https://arxiv.org/abs/2008.11193). The order follows from the cap and its δ alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from client.entries import Charge, Entry, Genesis, Intent, Plan, Release, of_kind
from client.policy import Policy
from common.errors import BudgetError, PolicyError
from common.privacy.accounting import (
    Accountant,
    Segment,
    Spent,
    epsilon,
    filter_epsilon,
    filter_order,
    plan_noise_multiplier,
)


def segments(entries: Sequence[Entry]) -> list[Segment]:
    """Every training step that is reserved."""
    return [plan.charge.segment for plan in of_kind(entries, Plan)]


def spent(entries: Sequence[Entry], delta: float, accountant: Accountant = "prv") -> Spent:
    """ε of everything the ledger holds on its training patients, at ``delta``."""
    return _price(entries, segments(entries), delta, accountant)


def spent_at_half(entries: Sequence[Entry], delta: float, accountant: Accountant) -> float:
    """What a ledger that is lost has to be recovered with: its ε at half of ``delta``.

    The charge then takes one half, and what comes later has the other.
    """
    return spent(entries, max(delta / 2, _assumed(entries).delta * 1.5), accountant).epsilon


def accountant_of(entries: Sequence[Entry], asked: Accountant) -> Accountant:
    """RDP, once a ledger was priced by it, that ε may not fall with a change of accountant."""
    return "rdp" if any(p.accountant == "rdp" for p in of_kind(entries, Plan)) else asked


def spent_on_release(entries: Sequence[Entry], delta: float) -> Spent:
    """ε of every noised release on the test patients, whose budget is their own."""
    done = [Segment(1.0, r.noise_multiplier, 1) for r in of_kind(entries, Release)]
    return epsilon(done, delta)


def is_adaptive(entries: Sequence[Entry]) -> bool:
    """Whether what is added now may have been chosen on results: something was trained before."""
    return bool(of_kind(entries, Intent)) or _assumed(entries).epsilon > 0


def within_cap(
    entries: Sequence[Entry], charges: Sequence[Charge], policy: Policy, accountant: Accountant,
    adaptive: bool,
) -> bool:  # fmt: skip
    """Whether ``charges``, all that there would be, keep the site's cap.

    Args:
        entries: what the ledger holds; only its recovery and its accountant are read.
        charges: every plan's charge.
        policy: ``epsilon_max`` at ``delta`` is the cap; without one everything keeps it.
        accountant: for plans fixed beforehand.
        adaptive: whether any may have been chosen on results.
    """
    if policy.epsilon_max is None or policy.delta is None:
        return True
    planned = [charge.segment for charge in charges]
    if not adaptive:
        return _price(entries, planned, policy.delta, accountant).epsilon <= policy.epsilon_max
    assumed = _assumed(entries)
    rest = policy.epsilon_max - assumed.epsilon, policy.delta - assumed.delta
    return min(rest) > 0 and filter_epsilon(planned, rest[1], filter_order(*rest)) <= rest[0]


def left_of_cap(entries: Sequence[Entry], policy: Policy) -> float | None:
    """What the cap leaves for the next plan, counted as that plan will be; ``None`` without one."""
    if policy.epsilon_max is None or policy.delta is None:
        return None
    assumed, planned = _assumed(entries), segments(entries)
    rest, delta = policy.epsilon_max - assumed.epsilon, policy.delta - assumed.delta
    if min(rest, delta) <= 0:
        return 0.0
    if is_adaptive(entries):
        return max(0.0, rest - filter_epsilon(planned, delta, filter_order(rest, delta)))
    return max(0.0, rest - epsilon(planned, delta).epsilon)


def admit(
    entries: Sequence[Entry], run_id: str, charge: Charge, round_steps: int, delta: float,
    policy: Policy, accountant: Accountant,
) -> Plan:  # fmt: skip
    """The plan that a run may reserve: as many of its whole rounds as the site's cap allows.

    Args:
        entries: what the ledger holds; none of it this run's.
        run_id: the run.
        charge: the whole plan, as asked.
        round_steps: steps of a round.
        delta: the experiment's δ.
        policy: the site's; its ``epsilon_max`` at its ``delta`` is the cap.
        accountant: what the experiment asks for.

    Returns:
        The plan, of 0 steps where not even one round is left.

    Raises:
        PolicyError: where the ledger holds figures of another unit, or δ is no larger than what a
            recovered ledger's own charge takes.
    """
    plans = of_kind(entries, Plan)
    units = {plan.charge.unit for plan in plans}
    if units - {charge.unit}:
        raise PolicyError(
            f"the ledger holds figures of the unit {sorted(units)}, and '{charge.unit}' was "
            "asked: units never mix in one ledger"
        )
    adaptive, before = is_adaptive(entries), [plan.charge for plan in plans]

    def within(rounds: int) -> bool:
        planned = [*before, replace(charge, steps=rounds * round_steps)]
        return within_cap(entries, planned, policy, accountant, adaptive)

    rounds = charge.steps // round_steps
    if not within(rounds):
        low = 0
        while rounds - low > 1:
            middle = (low + rounds) // 2
            low, rounds = (middle, rounds) if within(middle) else (low, middle)
        rounds = low
    charge = replace(charge, steps=rounds * round_steps)
    priced = _price(entries, [*segments(entries), charge.segment], delta, accountant)
    return Plan(run_id, charge, delta, priced.accountant, adaptive)


def next_intent(
    entries: Sequence[Entry], plan: Plan, server_round: int, request: str, steps: int
) -> Intent:
    """A round of a plan.

    Raises:
        BudgetError: where the plan has no steps left for it, so that the site only evaluates.
    """
    taken = sum(i.steps for i in of_kind(entries, Intent, lambda i: i.run_id == plan.run_id))
    if taken + steps > plan.charge.steps:
        raise BudgetError(
            f"the run has taken {taken} of the {plan.charge.steps} steps that its plan may have at "
            f"this site: {steps} more would pass its budget (a round that was cut off is spent)"
        )
    return Intent(plan.run_id, server_round, request, steps)


def next_release(
    entries: Sequence[Entry], run_id: str, server_round: int, request: str, unit: str,
    policy: Policy,
) -> Release:  # fmt: skip
    """A noised release: one Gaussian at the policy's ε.

    Raises:
        BudgetError: where the policy allows no more of them.
    """
    done = len(of_kind(entries, Release)) + of_kind(entries, Genesis)[0].assumed_releases
    if done >= policy.evaluation_releases:
        raise BudgetError(
            f"policy.evaluation_releases: {done} of {policy.evaluation_releases} noised "
            "releases are spent"
        )
    if policy.evaluation_epsilon is None or policy.delta is None:
        raise PolicyError("policy.evaluation_epsilon and policy.delta must be given")
    sigma = release_noise_multiplier(policy.evaluation_epsilon, policy.delta)
    return Release(run_id, server_round, request, unit, sigma, policy.delta)


def release_noise_multiplier(target_epsilon: float, delta: float) -> float:
    """σ of one Gaussian at (ε, δ): the noise's standard deviation is σ × its sensitivity."""
    return plan_noise_multiplier(target_epsilon, delta, 1.0, 1)


@dataclass(frozen=True)
class _Assumed:
    """What a recovered ledger is taken to have spent before it began; (0, 0) for any other."""

    epsilon: float
    delta: float


def _assumed(entries: Sequence[Entry]) -> _Assumed:
    genesis = of_kind(entries, Genesis)[0]
    return _Assumed(genesis.assumed_epsilon, genesis.assumed_delta)


def _price(
    entries: Sequence[Entry], planned: Sequence[Segment], delta: float, accountant: Accountant
) -> Spent:
    """ε of ``planned`` on top of what a recovered ledger is taken to have spent.

    By basic composition: the assumed ε at its own δ, the rest at what is left of ``delta``.
    """
    assumed = _assumed(entries)
    if delta <= assumed.delta:
        raise PolicyError(
            f"δ={delta:g}: the ledger was recovered with a charge at δ={assumed.delta:g}, so that "
            "only a larger δ can be stated"
        )
    known = epsilon(planned, delta - assumed.delta, accountant_of(entries, accountant))
    return Spent(assumed.epsilon + known.epsilon, known.accountant)
