"""One audit: train canaries through the private path, attack, test, and give a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from client.cohort import Cohort
from simulations.audit.attack import attack
from simulations.audit.bounds import Bound, lower_bounds
from simulations.audit.canaries import place_canaries
from simulations.audit.checks import FALSE_ALARM, Check, run_checks
from simulations.audit.claim import Claim
from simulations.audit.curve import TradeoffCurve
from simulations.audit.independent import MeanGap, mean_gap
from simulations.audit.membership import Membership, membership
from simulations.audit.probe import observe

Verdict = Literal["VIOLATION", "CONSISTENT"]


@dataclass(frozen=True)
class AuditResult:
    """Everything that one audit found.

    Attributes:
        seed: what the coins followed from.
        verdict: VIOLATION where any check rejects. CONSISTENT confirms nothing: an audit refutes.
        false_alarm: largest probability of VIOLATION were the claim right.
        canaries: canary patients; ``included`` of them were in.
        patients: others in the cohort.
        checks: the tests.
        bounds: lower bounds on ε.
        gap: the parametric look, which the verdict does not use.
        membership: true-positive rates at few false positives.
        seconds: from the coins to the verdict.
    """

    seed: int
    verdict: Verdict
    false_alarm: float
    canaries: int
    included: int
    patients: int
    checks: list[Check]
    bounds: list[Bound]
    gap: MeanGap
    membership: list[Membership]
    seconds: float


def run_audit(
    claim: Claim,
    curve: TradeoffCurve,
    canaries: int,
    seed: int,
    others: Cohort,
    on_step: Callable[[], None] = lambda: None,
) -> AuditResult:
    """Audit the private training once.

    1. ``place_canaries``: toss the coins; who is in joins the cohort.
    2. ``observe``: ``train_private`` under the claimed constants, seen step by step.
    3. ``attack``: score every canary.
    4. ``run_checks``: test the noise and the curve.
    5. Bounds, rates and a verdict.

    Args:
        claim: the constants that the training is given, and ε.
        curve: what the claim allows an attacker.
        canaries: m.
        seed: what the coins follow from.
        others: patients trained on beside the canaries. Where they are real, the caller has priced
            the training in its site's ledger before, and keeps the result at the site.
        on_step: called after each step of the training.
    """
    started = time.monotonic()
    placed = place_canaries(canaries, seed, others)
    seen = observe(placed, claim, on_step)
    found = attack(seen, placed, claim)
    checks = run_checks(seen, placed, found, claim, curve)
    return AuditResult(
        seed=seed,
        verdict="VIOLATION" if any(check.rejected for check in checks) else "CONSISTENT",
        false_alarm=FALSE_ALARM,
        canaries=canaries,
        included=int(placed.included.sum()),
        patients=len(others.patients),
        checks=checks,
        bounds=lower_bounds(found, claim.delta),
        gap=mean_gap(found, claim.sample_rate * claim.steps, claim.delta, FALSE_ALARM),
        membership=membership(found, curve),
        seconds=time.monotonic() - started,
    )
