"""What a ledger's entries cost, and what may still be added: the odometer and the filter.

Every plan is priced whole from the moment it is reserved: a run that is stopped on seeing results
has spent its plan. Rounds are charged against their plan, and cannot pass it.

A plan that was fixed before any training is priced by the accountant asked for (PRV). One chosen
later may depend on what came before, so it is admitted only while the sum of the Rényi divergences
keeps the cap: for that sum, composition is proven even when each plan is chosen on the results of
the last (Feldman and Zrnic 2021, https://arxiv.org/abs/2008.11193). PRV over such plans is stated
beside it, and labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from client.entries import Charge, Entry, Genesis, Intent, Plan, Release, of_kind
from client.policy import Policy
from common.errors import BudgetError, LedgerError, PolicyError
from common.privacy.accounting import (
    Accountant,
    Segment,
    Spent,
    epsilon,
    plan_noise_multiplier,
)


def segments(entries: Sequence[Entry]) -> list[Segment]:
    """Every training step that is reserved."""
    return [plan.charge.segment for plan in of_kind(entries, Plan)]


def spent(entries: Sequence[Entry], delta: float, accountant: Accountant = "prv") -> Spent:
    """ε of everything the ledger holds on its training patients, at ``delta``.

    Once a ledger was priced by RDP it stays so, that ε may not fall with a change of accountant.
    """
    return _price(entries, segments(entries), delta, accountant)


def spent_adaptively(entries: Sequence[Entry], delta: float) -> float:
    """The same by RDP, which holds even where each plan was chosen on the last one's results."""
    return spent(entries, delta, "rdp").epsilon


def spent_on_release(entries: Sequence[Entry], delta: float) -> Spent:
    """ε of every noised release on the test patients, whose budget is their own."""
    done = [Segment(1.0, r.noise_multiplier, 1) for r in of_kind(entries, Release)]
    return epsilon(done, delta)


def admit(
    entries: Sequence[Entry], run_id: str, charge: Charge, local_steps: int, delta: float,
    policy: Policy, accountant: Accountant,
) -> Plan:  # fmt: skip
    """The plan that a run may reserve: as many of its whole rounds as the site's cap allows.

    Args:
        entries: what the ledger holds; none of it this run's.
        run_id: the run.
        charge: the whole plan, as asked.
        local_steps: steps of a round.
        delta: the experiment's δ.
        policy: the site's; its ``epsilon_max`` at its ``delta`` is the cap.
        accountant: what the experiment asks for.

    Returns:
        The plan, of 0 steps where not even one round is left.

    Raises:
        LedgerError: where the ledger holds figures of another unit.
    """
    held_units = {plan.charge.unit for plan in of_kind(entries, Plan)}
    if held_units - {charge.unit}:
        raise LedgerError(
            f"the ledger holds figures of the unit {sorted(held_units)}, and '{charge.unit}' was "
            "asked: units never mix in one ledger"
        )
    adaptive = bool(of_kind(entries, Intent))

    def within(rounds: int) -> bool:
        if policy.epsilon_max is None or policy.delta is None:
            return True
        planned = [*segments(entries), replace(charge, steps=rounds * local_steps).segment]
        by: Accountant = "rdp" if adaptive else accountant
        return _price(entries, planned, policy.delta, by).epsilon <= policy.epsilon_max

    rounds = charge.steps // local_steps
    if not within(rounds):
        low = 0
        while rounds - low > 1:
            middle = (low + rounds) // 2
            low, rounds = (middle, rounds) if within(middle) else (low, middle)
        rounds = low
    charge = replace(charge, steps=rounds * local_steps)
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
    done = of_kind(entries, Release)
    if len(done) >= policy.evaluation_releases:
        raise BudgetError(
            f"policy.evaluation_releases: {len(done)} of {policy.evaluation_releases} noised "
            "releases are spent"
        )
    if policy.evaluation_epsilon is None or policy.delta is None:
        raise PolicyError("policy.evaluation_epsilon and policy.delta must be given")
    sigma = release_noise_multiplier(policy.evaluation_epsilon, policy.delta)
    return Release(run_id, server_round, request, unit, sigma, policy.delta)


def release_noise_multiplier(target_epsilon: float, delta: float) -> float:
    """σ of one Gaussian at (ε, δ): the noise's standard deviation is σ × its sensitivity."""
    return plan_noise_multiplier(target_epsilon, delta, 1.0, 1)


def _price(
    entries: Sequence[Entry], planned: Sequence[Segment], delta: float, accountant: Accountant
) -> Spent:
    """ε of ``planned`` on top of what a recovered ledger is assumed to have spent.

    That assumption holds at half of δ (and so by basic composition the whole at δ).
    """
    if any(plan.accountant == "rdp" for plan in of_kind(entries, Plan)):
        accountant = "rdp"
    assumed = sum(genesis.assumed_epsilon for genesis in of_kind(entries, Genesis))
    known = epsilon(planned, delta / 2 if assumed else delta, accountant)
    return Spent(assumed + known.epsilon, known.accountant)
