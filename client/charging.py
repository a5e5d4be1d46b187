"""Asking the site's ledger: what a run would cost, the round that is about to be charged, the
statement that goes with an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from client.budget import admit, next_intent, segments, spent, spent_adaptively
from client.entries import Charge, Entry, Genesis, Plan, of_kind
from client.plan import delta_of, plan_of
from client.site import Site
from common.config import Experiment
from common.errors import BudgetError, LedgerError, PolicyError
from common.messages import TrainRequest
from common.privacy.accounting import ADJACENCY, epsilon
from common.statement import PrivacyStatement


def price_run(site: Site, experiment: Experiment, run_id: str) -> PrivacyStatement:
    """What the ledger would say once this run is reserved; nothing is written.

    Its ``steps`` are those that the site's cap allows: 0 where not one round is left.

    Raises:
        PolicyError: where the site's policy refuses the experiment.
    """
    site.settings.policy.check(experiment)
    entries = site.ledger().read().entries
    return statement(entries, _plan(site, entries, experiment, run_id), experiment)


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
    site.settings.policy.check(experiment)
    with site.ledger().transaction() as book:
        plan = _plan(site, book.entries, experiment, request.run_id)
        intent = next_intent(
            book.entries, plan, request.server_round, request.digest, experiment.local_steps
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
    return statement(entries, plan, experiment)


def statement(entries: Sequence[Entry], plan: Plan, experiment: Experiment) -> PrivacyStatement:
    """The ledger's figures with ``plan`` in it, at the experiment's δ."""
    delta, asked = delta_of(experiment), experiment.privacy.accountant
    with_plan = [*entries] if plan in entries or plan.charge.steps == 0 else [*entries, plan]
    life = spent(with_plan, delta, asked)
    run = epsilon([plan.charge.segment], delta, life.accountant)
    genesis = of_kind(entries, Genesis)[0]
    return PrivacyStatement(
        epsilon_run=run.epsilon,
        epsilon=life.epsilon,
        epsilon_adaptive=spent_adaptively(with_plan, delta),
        composition="across plans" if len(of_kind(with_plan, Plan)) > 1 else "one plan",
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
    """The run's plan out of the ledger, or the one that it may have there."""
    policy, unit = site.settings.policy, site.unit(experiment)
    held = of_kind(entries, Plan, lambda plan: plan.run_id == run_id)
    if held:
        found = held[0]
        asked = (unit, experiment.privacy.max_grad_norm, experiment.privacy.delta)
        if (found.charge.unit, found.charge.max_grad_norm, found.delta) != asked:
            raise LedgerError(f"run '{run_id}' has another plan in the ledger: unit, C or δ differ")
        return found
    whole = plan_of(
        experiment, site.public_patients(), unit, policy.min_noise_multiplier, segments(entries)
    )
    delta, accountant = delta_of(experiment), experiment.privacy.accountant
    plan = admit(entries, run_id, whole, experiment.local_steps, delta, policy, accountant)
    limit = experiment.privacy.epsilon_life
    if limit is not None and spent([*entries, plan], delta, accountant).epsilon > limit:
        raise BudgetError(f"privacy.epsilon_life={limit:g} is spent at this site")
    return plan
