"""What a run would cost a site: σ, q and steps, from public constants alone."""

from __future__ import annotations

from collections.abc import Sequence

from client.entries import Charge
from common.config import Experiment
from common.errors import PolicyError, PrivacyError
from common.privacy.accounting import Segment, epsilon, plan_noise_multiplier


def plan_of(
    experiment: Experiment,
    public_patients: int,
    unit: str,
    min_noise_multiplier: float = 0.0,
    held: Sequence[Segment] = (),
) -> Charge:
    """The run's whole plan at a site that declares ``public_patients`` of ``unit``.

    Args:
        experiment: what is asked.
        public_patients: the site's public count.
        unit: what one ε is about there.
        min_noise_multiplier: a planned σ is raised to it.
        held: what the site's ledger holds already, for ``privacy.epsilon_life``.

    Raises:
        PolicyError: where q would pass 1, or δ is above 1 / (10 × the public count).
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
    steps, sigma = experiment.total_steps, target.noise_multiplier
    budgets = [
        (limit, tuple(before))
        for limit, before in ((target.epsilon, ()), (target.epsilon_life, held))
        if limit is not None
    ]
    if sigma is None:
        sigma = max(
            plan_noise_multiplier(
                limit, delta, q, steps, target.accountant, *([before] if before else [])
            )
            for limit, before in budgets
        )
        sigma = max(sigma, min_noise_multiplier)
    for limit, before in budgets:
        cost = epsilon([*before, Segment(q, sigma, steps)], delta, target.accountant).epsilon
        if cost > limit:
            raise PrivacyError(
                f"privacy.noise_multiplier={sigma:g} costs ε={cost:.2f} over the run, above "
                f"the budget of {limit:g}; raise either, or leave the budget out (null)"
            )
    return Charge(unit, q, sigma, target.max_grad_norm, steps)


def delta_of(experiment: Experiment) -> float:
    if experiment.privacy.delta is None:
        raise PrivacyError("privacy.delta must be given: an ε means nothing without its δ")
    return experiment.privacy.delta
