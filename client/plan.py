"""What a run would cost a site: σ, q and steps, from public constants alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from client.entries import Charge
from common.config import Experiment
from common.errors import BudgetError, PolicyError, PrivacyError
from common.privacy.accounting import Accountant, Segment, epsilon, plan_noise_multiplier


@dataclass(frozen=True)
class Held:
    """What a site's ledger holds already, for ``privacy.epsilon_life``."""

    segments: tuple[Segment, ...] = ()
    accountant: Accountant = "prv"
    assumed_epsilon: float = 0.0
    """What a recovered ledger is taken to have spent, at ``assumed_delta``."""
    assumed_delta: float = 0.0


def planned_charge(
    experiment: Experiment,
    public_patients: int,
    unit: str,
    min_noise_multiplier: float = 0.0,
    held: Held | None = None,
) -> Charge:
    """The run's whole plan at a site that declares ``public_patients`` of ``unit``.

    Args:
        experiment: what is asked.
        public_patients: the site's public count.
        unit: what one ε is about there.
        min_noise_multiplier: a planned σ is raised to it.
        held: what the site's ledger holds already.

    Raises:
        PolicyError: where q would pass 1, or δ is above 1 / (10 × the public count).
        BudgetError: where ``privacy.epsilon_life`` is spent already.
        PrivacyError: where the σ given costs more than the ε given, or no σ is enough.
    """
    target, delta = experiment.privacy, delta_of(experiment)
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
    steps = experiment.rounds * experiment.round_steps
    sigma = target.noise_multiplier
    budgets = _budgets(experiment, held or Held(accountant=target.accountant))
    if sigma is None:
        sigma = max(b.noise_multiplier(q, steps) for b in budgets)
        sigma = max(sigma, min_noise_multiplier)
    for budget in budgets:
        cost = budget.cost(Segment(q, sigma, steps))
        if cost > budget.epsilon:
            raise PrivacyError(
                f"privacy.noise_multiplier={sigma:g} costs ε={cost:.2f} over the run, above "
                f"the budget of {budget.epsilon:g}; raise either, or leave the budget out (null)"
            )
    return Charge(unit, q, sigma, target.max_grad_norm, steps)


@dataclass(frozen=True)
class _Budget:
    """A target for a run on top of what comes before it."""

    epsilon: float
    delta: float
    accountant: Accountant
    before: tuple[Segment, ...] = ()

    def cost(self, run: Segment) -> float:
        return epsilon([*self.before, run], self.delta, self.accountant).epsilon

    def noise_multiplier(self, sample_rate: float, steps: int) -> float:
        return plan_noise_multiplier(
            self.epsilon, self.delta, sample_rate, steps, self.accountant, self.before
        )


def _budgets(experiment: Experiment, held: Held) -> list[_Budget]:
    """The run's own target, and the one over the ledger's life, where they are given."""
    target, delta = experiment.privacy, delta_of(experiment)
    budgets = []
    if target.epsilon is not None:
        budgets.append(_Budget(target.epsilon, delta, target.accountant))
    if target.epsilon_life is not None:
        left, rest = target.epsilon_life - held.assumed_epsilon, delta - held.assumed_delta
        spent = (
            epsilon(held.segments, rest, held.accountant).epsilon
            if min(left, rest) > 0
            else math.inf
        )
        if spent >= left:
            raise BudgetError(
                f"privacy.epsilon_life={target.epsilon_life:g} is spent at this site already: its "
                f"ledger's plans come to {spent:.3f} of the {left:g} that recoveries left, at "
                f"δ={delta:g}; ask for more, or let this site evaluate only"
            )
        budgets.append(_Budget(left, rest, held.accountant, held.segments))
    return budgets


def delta_of(experiment: Experiment) -> float:
    if experiment.privacy.delta is None:
        raise PrivacyError("privacy.delta must be given: an ε means nothing without its δ")
    return experiment.privacy.delta
