"""What a run would cost a site: σ, q and steps, from public constants alone."""

from __future__ import annotations

from client.ledger import Charge
from client.site import Site
from common.config import Experiment
from common.errors import PolicyError, PrivacyError
from common.messages import PrivacyStatement
from common.privacy.accounting import (
    ADJACENCY,
    Segment,
    Spent,
    epsilon,
    plan_noise_multiplier,
)


def plan_charge(experiment: Experiment, public_patients: int, unit: str) -> Charge:
    """The run's plan at a site that declares ``public_patients`` of ``unit``.

    Raises:
        PolicyError: where q would pass 1, or δ is above 1 / (10 × the public count).
        PrivacyError: where the σ given costs more than the ε given, or no σ is enough.
    """
    target = experiment.privacy
    delta = delta_of(experiment)
    if delta > 1 / (10 * public_patients):
        raise PolicyError(
            f"privacy.delta={delta:g} is too large for {public_patients} patients: expected at "
            f"most 1 / (10 × patients) = {1 / (10 * public_patients):g}"
        )
    q = target.sample_rate
    if q is None:
        q = experiment.strategy.batch_size / public_patients
    if q > 1:
        raise PolicyError(
            f"strategy.batch_size={experiment.strategy.batch_size} is above the site's public "
            f"count of {public_patients}: lower it, or set privacy.sample_rate"
        )
    steps = experiment.total_steps
    sigma = target.noise_multiplier
    if sigma is None:
        if target.epsilon is None:
            raise PrivacyError("give privacy.epsilon or privacy.noise_multiplier")
        sigma = plan_noise_multiplier(target.epsilon, delta, q, steps, target.accountant)
    elif target.epsilon is not None:
        cost = epsilon([Segment(q, sigma, steps)], delta, target.accountant).epsilon
        if cost > target.epsilon:
            raise PrivacyError(
                f"privacy.noise_multiplier={sigma:g} costs ε={cost:.2f} over the run, above "
                f"privacy.epsilon={target.epsilon:g}; raise either, or set privacy.epsilon=null"
            )
    return Charge(unit, q, sigma, target.max_grad_norm, steps)


def reserved_plan(site: Site, experiment: Experiment, run_id: str) -> Charge:
    """The run's plan out of the ledger, written there when the run is first seen.

    Raises:
        PolicyError: where the ledger holds another plan under this run's id, or the site cannot
            tell the units apart.
    """
    ledger, unit = site.ledger(), site.unit(experiment)
    plan = ledger.plan(run_id)
    if plan is None:
        plan = plan_charge(experiment, site.public_patients(), unit)
        ledger.write_plan(run_id, plan)
    asked = (unit, experiment.privacy.max_grad_norm, experiment.total_steps)
    if (plan.unit, plan.max_grad_norm, plan.steps) != asked:
        raise PolicyError(f"run '{run_id}' has another plan in the ledger: unit, C or steps differ")
    return plan


def round_charge(site: Site, plan: Charge, experiment: Experiment, run_id: str) -> Charge:
    """One round of the plan.

    Raises:
        PolicyError: where the run has no steps left, so that the site only evaluates.
    """
    taken = sum(segment.steps for segment in site.ledger().history(run_id))
    if taken + experiment.local_steps > plan.steps:
        raise PolicyError(
            f"run '{run_id}' has taken {taken} of its {plan.steps} planned steps: "
            f"{experiment.local_steps} more would pass its budget "
            "(a round that was cut off counts as spent)"
        )
    return Charge(
        plan.unit,
        plan.sample_rate,
        plan.noise_multiplier,
        plan.max_grad_norm,
        experiment.local_steps,
    )


def statement_of_plan(site: Site, experiment: Experiment, run_id: str) -> PrivacyStatement:
    """The whole plan's price, on its own and on top of what other runs have cost."""
    plan = reserved_plan(site, experiment, run_id)
    delta, accountant = delta_of(experiment), experiment.privacy.accountant
    segment = Segment(plan.sample_rate, plan.noise_multiplier, plan.steps)
    life = epsilon([segment, *site.ledger().history(except_run=run_id)], delta, accountant)
    run = epsilon([segment], delta, life.accountant)
    return _statement(plan, plan.steps, run.epsilon, life, delta)


def statement_of_ledger(site: Site, experiment: Experiment, run_id: str) -> PrivacyStatement:
    """What the ledger says after the run: this run's steps, and the site's whole life."""
    ledger, plan = site.ledger(), reserved_plan(site, experiment, run_id)
    delta, accountant = delta_of(experiment), experiment.privacy.accountant
    life = ledger.spent(delta, accountant)
    run = ledger.spent(delta, life.accountant, run_id)  # both by the accountant that is named
    steps = sum(segment.steps for segment in ledger.history(run_id))
    return _statement(plan, steps, run.epsilon, life, delta)


def delta_of(experiment: Experiment) -> float:
    if experiment.privacy.delta is None:
        raise PrivacyError("privacy.delta must be given: an ε means nothing without its δ")
    return experiment.privacy.delta


def _statement(
    plan: Charge, steps: int, epsilon_run: float, life: Spent, delta: float
) -> PrivacyStatement:
    return PrivacyStatement(
        epsilon_run=epsilon_run,
        epsilon=life.epsilon,
        delta=delta,
        unit=plan.unit,
        adjacency=ADJACENCY,
        accountant=life.accountant,
        noise_multiplier=plan.noise_multiplier,
        sample_rate=plan.sample_rate,
        steps=steps,
        max_grad_norm=plan.max_grad_norm,
    )
