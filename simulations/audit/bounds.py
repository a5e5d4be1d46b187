"""Lower bounds on ε, each beside the largest that its method could have given here."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.audit.attack import Attack
from simulations.audit.checks import COINS_ALONE, FALSE_ALARM, GUESS_SHARES, INDEPENDENT
from simulations.audit.independent import accuracy_bound
from simulations.audit.one_run import curve_bound, steinke_bound

CONFIDENCE = 1 - FALSE_ALARM


@dataclass(frozen=True)
class Bound:
    """A lower bound on ε at the claim's δ.

    Attributes:
        method: of whom, and what kind of guarantee is bounded.
        assumes: what it takes for granted.
        guesses: canaries guessed, of the number of guesses that gave the larger bound.
        right: of those.
        confidence: that the true ε is no less than ``lower_bound``.
        lower_bound: ε.
        detectable: the lower bound had every guess been right: no audit of this size by this
            method can tell a larger ε.
    """

    method: str
    assumes: str
    guesses: int
    right: int
    confidence: float
    lower_bound: float
    detectable: float


def lower_bounds(found: Attack, delta: float) -> list[Bound]:
    """Three methods; where one tries two numbers of guesses, each has half of the error."""
    canaries = len(found.scores)
    level = FALSE_ALARM / len(GUESS_SHARES)
    counts = [(int(share * canaries), found.right(int(share * canaries))) for share in GUESS_SHARES]
    bounds = []
    for method, bound in (
        ("one run, (ε, δ) (Steinke et al. 2023)", steinke_bound),
        ("one run, Gaussian curve (Mahloujifar et al. 2024)", curve_bound),
    ):
        lower, guesses, right = max(
            (bound(canaries, guesses, right, delta, level), guesses, right)
            for guesses, right in counts
        )
        detectable = max(bound(canaries, k, k, delta, level) for k, _ in counts)
        bounds.append(Bound(method, COINS_ALONE, guesses, right, CONFIDENCE, lower, detectable))
    right = found.right(canaries)
    bounds.append(
        Bound(
            "accuracy, Gaussian curve",
            INDEPENDENT,
            canaries,
            right,
            CONFIDENCE,
            accuracy_bound(right, canaries, delta, FALSE_ALARM),
            accuracy_bound(canaries, canaries, delta, FALSE_ALARM),
        )
    )
    return bounds
