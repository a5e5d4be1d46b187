"""The best guess at each coin that the steps allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.audit.canaries import Canaries
from simulations.audit.claim import Claim

LEAST_NOISE = 1e-3
"""Noise that the attacker reckons with at least, in units of C, so that no noise divides by 0."""


@dataclass(frozen=True)
class Attack:
    """What the attacker makes of an audited training.

    Attributes:
        included: bool (m,), the coins; read only to score the guesses.
        copies: int64 (m,), images of each canary.
        scores: float64 (m,), log-likelihood ratio of in against out.
        sums: float64 (m,), each canary's own coordinate summed over the steps, in units of C.
    """

    included: NDArray[np.bool_]
    copies: NDArray[np.int64]
    scores: NDArray[np.float64]
    sums: NDArray[np.float64]

    def right(self, guesses: int) -> int:
        """How many guesses are right, where this many are made.

        With a guess at every canary: in where its score is above 0. With fewer: in for the highest
        scores, out for as many of the lowest. Which canaries are guessed depends on the scores
        alone, and how many on nothing: the bounds of ``one_run.py`` need both.
        """
        if guesses == len(self.scores):
            return int(((self.scores > 0) == self.included).sum())
        order = np.argsort(self.scores, kind="stable")
        bottom = order[: guesses // 2]
        top = order[len(order) - (guesses - guesses // 2) :]
        return int((~self.included[bottom]).sum() + self.included[top].sum())


def attack(seen: NDArray[np.float64], canaries: Canaries, claim: Claim) -> Attack:
    """Score every canary by its own coordinate of every step.

    Step by step, a canary that is in adds 1 with probability q to noise of standard deviation σ;
    one that is out adds nothing. The likelihood ratio of the two, log(1 − q + q e^((x − ½) / σ²))
    summed over steps, is the most powerful test (Neyman and Pearson 1933). The attacker takes σ
    from the spare coordinates, which no canary touches, so it also reads a build that adds less
    than it claims.

    Args:
        seen: (steps, pixels), as :func:`simulations.audit.probe.observe` returns it.
    """
    canvas = canaries.canvas
    x = seen[:, canvas.canary_pixels]  # (steps, m)
    noise = max(float(np.sqrt(np.square(seen[:, canvas.spare_pixels]).mean())), LEAST_NOISE)
    with np.errstate(divide="ignore"):  # log(1 − q) at q = 1
        not_drawn = np.log1p(-claim.sample_rate)
    drawn = np.log(claim.sample_rate) + (x - 0.5) / noise**2
    scores = np.logaddexp(not_drawn, drawn).sum(axis=0)
    return Attack(canaries.included, canaries.copies, scores, x.sum(axis=0))
