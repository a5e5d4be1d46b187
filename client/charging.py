"""Asking the site's ledger: what a run would cost, the round that is about to be charged, the
statement that goes with an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from client.budget import (
    accountant_of,
    admit,
    next_intent,
    segments,
    spent,
    spent_at_half,
    spent_on_release,
    within_cap,
)
from client.entries import Charge, Entry, Genesis, Plan, Release, of_kind
from client.plan import Held, delta_of, planned_charge
from client.policy import Policy
from client.site import Site
from common.config import Experiment
from common.errors import BudgetError, PolicyError
from common.messages import TrainRequest
from common.privacy.accounting import ADJACENCY, epsilon
from common.statement import PrivacyStatement, ReleaseStatement


def price_run(site: Site, experiment: Experiment, run_id: str) -> tuple[PrivacyStatement, bytes]:
    """What the ledger would say once this run is reserved, and its chain; nothing is written.

    The statement's ``steps`` are those that the site's cap allows: 0 where no round is left.

    Raises:
        PolicyError: where the site's policy refuses the experiment.
    """
    book = site.ledger().read()
    plan = _plan(site, book.entries, experiment, run_id)
    return statement(book.entries, plan, site.settings.policy), book.chain


def charge_round(site: Site, request: TrainRequest) -> tuple[Charge, bytes]:
    """Reserve the run's plan where it is new, and write this round's intent: before any batch.

    Check and intent are one transaction, so that two processes cannot both take the last round.

    Returns:
        What this round may do, and the ledger's chain with its intent.

    Raises:
        PolicyError: where the site's policy refuses the experiment.
        BudgetError: where the round would pass the site's cap or the run's plan.
        LedgerError: where the ledger cannot be trusted, or the intent not be written.
    """
    experiment = request.experiment
    with site.ledger().transaction() as book:
        plan = _plan(site, book.entries, experiment, request.run_id)
        intent = next_intent(
            book.entries, plan, request.server_round, request.digest, experiment.round_steps
        )
        if plan not in book.entries:
            book.append(plan)
        book.append(intent)
    return replace(plan.charge, steps=intent.steps), book.chain


def state_privacy(site: Site, experiment: Experiment, run_id: str) -> PrivacyStatement | None:
    """What the ledger says of a run that has ended, and of its whole life.

    ``None`` where the run never trained here and never could: its σ and q do not exist.
    """
    entries = site.ledger().read().entries
    try:
        plan = _plan(site, entries, experiment, run_id)
    except PolicyError:
        return None
    if plan not in entries:  # it never trained here
        plan = replace(plan, charge=replace(plan.charge, steps=0))
    return statement(entries, plan, site.settings.policy)


def state_release(entries: Sequence[Entry], site: Site) -> ReleaseStatement | None:
    """What noised releases have cost each test patient; ``None`` where there was none."""
    done, genesis = of_kind(entries, Release), of_kind(entries, Genesis)[0]
    if not done:
        return None
    life = spent_on_release(entries, done[-1].delta)
    return ReleaseStatement(
        epsilon=life.epsilon,
        delta=done[-1].delta,
        unit=site.own_unit,
        adjacency=ADJACENCY,
        accountant=life.accountant,
        noise_multiplier=done[-1].noise_multiplier,
        releases=len(done) + genesis.assumed_releases,
    )


def statement(entries: Sequence[Entry], plan: Plan, policy: Policy) -> PrivacyStatement:
    """The ledger's figures with ``plan`` in it, at the plan's δ and by its accountant."""
    delta = plan.delta
    with_plan = [*entries] if plan in entries or plan.charge.steps == 0 else [*entries, plan]
    life = spent(with_plan, delta, plan.accountant)
    run = epsilon([plan.charge.segment], delta, life.accountant)
    genesis = of_kind(entries, Genesis)[0]
    plans = len(of_kind(with_plan, Plan)) + (genesis.assumed_epsilon > 0)
    return PrivacyStatement(
        epsilon_run=run.epsilon,
        epsilon=life.epsilon,
        epsilon_rdp=spent(with_plan, delta, "rdp").epsilon,
        epsilon_recovery=spent_at_half(with_plan, delta, plan.accountant),
        epsilon_max=policy.epsilon_max or 0.0,
        composition="across plans" if plans > 1 else "one plan",
        delta=delta,
        unit=plan.charge.unit,
        adjacency=ADJACENCY,
        accountant=life.accountant,
        noise_multiplier=plan.charge.noise_multiplier,
        sample_rate=plan.charge.sample_rate,
        steps=plan.charge.steps,
        max_grad_norm=plan.charge.max_grad_norm,
        assumed_epsilon=genesis.assumed_epsilon,
    )


def _plan(site: Site, entries: Sequence[Entry], experiment: Experiment, run_id: str) -> Plan:
    """The run's plan out of the ledger, or the one that it may have there, under the policy."""
    site.check(experiment)
    policy, unit, asked = site.settings.policy, site.unit(experiment), experiment.privacy
    for found in of_kind(entries, Plan, lambda plan: plan.run_id == run_id):
        planned = {
            "unit": found.charge.unit, "C": found.charge.max_grad_norm, "δ": found.delta
        }  # fmt: skip
        wanted = {"unit": unit, "C": asked.max_grad_norm, "δ": asked.delta}
        if planned != wanted:
            raise PolicyError(
                f"run '{run_id}' has another plan in the ledger: expected {planned}, got {wanted}; "
                "begin a new run for other settings"
            )
        _check_again(entries, found, policy)
        return found
    genesis = of_kind(entries, Genesis)[0]
    held = Held(
        tuple(segments(entries)),
        accountant_of(entries, asked.accountant),
        genesis.assumed_epsilon,
        genesis.assumed_delta,
    )
    whole = planned_charge(
        experiment, site.public_patients(), unit, policy.min_noise_multiplier, held
    )
    delta = delta_of(experiment)
    return admit(entries, run_id, whole, experiment.round_steps, delta, policy, asked.accountant)


def _check_again(entries: Sequence[Entry], plan: Plan, policy: Policy) -> None:
    """A policy may have been tightened since a plan was reserved: it holds for every round."""
    if plan.charge.noise_multiplier < policy.min_noise_multiplier:
        raise PolicyError(
            f"the run's plan has σ={plan.charge.noise_multiplier:g}, and the policy by now asks "
            f"for at least {policy.min_noise_multiplier:g}"
        )
    plans = of_kind(entries, Plan)
    adaptive = any(p.adaptive for p in plans)
    if not within_cap(entries, [p.charge for p in plans], policy, plan.accountant, adaptive):
        raise BudgetError(
            f"the policy's epsilon_max={policy.epsilon_max} at δ={policy.delta} is by now below "
            "what the ledger's plans come to: `fedrounds ledger show` lists them; this site only "
            "evaluates until its cap is raised"
        )
