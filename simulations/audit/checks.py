"""The tests of a claim, each with its p-value, and what rejects.

Every test has the same share of :data:`FALSE_ALARM` (Bonferroni), so that a training that is as
claimed is called a VIOLATION with at most that probability, however the tests depend on another.

What no test here sees: a loader that shuffles fixed batches instead of drawing each patient by
itself. It gives every canary as many steps, so the scores hardly change, though the claim fails
for whoever learns the order. Tests of the loader are for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulations.audit.attack import Attack
from simulations.audit.canaries import Canaries
from simulations.audit.claim import Claim
from simulations.audit.curve import TradeoffCurve
from simulations.audit.independent import accuracy_p_value, tail_p_value
from simulations.audit.noise import NoiseLevel, empty_batch_noise, noise_level
from simulations.audit.one_run import curve_p_value

FALSE_ALARM = 0.001
"""Largest probability that an audit of the claimed training says VIOLATION."""
GUESS_SHARES = (1.0, 0.125)
"""Canaries guessed: all of them, and the eighth that the attacker is surest of."""
TAIL_RATE = 0.005
"""False-alarm rate claimed at the scores where the curve's tails are tested."""

NORMAL_NOISE = "independent normal noise"
COINS_ALONE = "fair coins alone"
INDEPENDENT = "independent canaries"


@dataclass(frozen=True)
class Check:
    """One test of the claim.

    Attributes:
        name: what is tested.
        found: what came out, for a person.
        p_value: probability of as much or more, were the claim right.
        assumes: what of the claim the p-value uses.
        rejected: whether ``p_value`` is under the test's share of the false alarm.
    """

    name: str
    found: str
    p_value: float
    assumes: str
    rejected: bool = False


def run_checks(
    seen: NDArray[np.float64],
    placed: Canaries,
    found: Attack,
    claim: Claim,
    curve: TradeoffCurve,
) -> list[Check]:
    """Every test, with ``rejected`` set.

    Args:
        seen: (steps, pixels), each step's noisy sum in units of C.
        placed: the canaries that were trained on.
        found: the attack on them.
        claim: the constants claimed.
        curve: what they allow.
    """
    checks = [*_noise_checks(seen[:, placed.untouched], claim), *_curve_checks(found, curve)]
    share = FALSE_ALARM / len(checks)
    return [replace(check, rejected=check.p_value < share) for check in checks]


def _noise_checks(quiet: NDArray[np.float64], claim: Claim) -> list[Check]:
    """Noise on an empty batch, and where no patient is: (steps, pixels) in units of C.

    A step's noise may be right and the sum over steps wrong: noise that repeats adds up.
    """
    sigma = claim.noise_multiplier
    levels = {
        "noise of an empty batch": empty_batch_noise(claim),
        "noise of each step": noise_level(quiet, sigma),
        "noise summed over steps": noise_level(quiet.sum(axis=0), sigma * np.sqrt(len(quiet))),
    }
    return [Check(name, _level_text(n), n.p_value, NORMAL_NOISE) for name, n in levels.items()]


def _level_text(level: NoiseLevel) -> str:
    return f"{level.ratio:.4f} of the claimed σC over {level.coordinates:,} coordinates"


def _curve_checks(found: Attack, curve: TradeoffCurve) -> list[Check]:
    canaries = len(found.scores)
    checks = []
    for share in GUESS_SHARES:
        guesses = int(share * canaries)
        right = found.right(guesses)
        checks.append(
            Check(
                f"trade-off curve, {guesses} guesses",
                f"{right} right ({right / guesses:.1%})",
                curve_p_value(curve, canaries, guesses, right),
                COINS_ALONE,
            )
        )
    right, p_value = accuracy_p_value(curve, found)
    text = f"{right / canaries:.1%} right, at most {curve.accuracy:.1%} claimed"
    checks.append(Check("trade-off curve, every canary", text, p_value, INDEPENDENT))
    sure = curve.score(TAIL_RATE)
    for threshold in (sure, -sure):
        tail = tail_p_value(curve, found, threshold)
        side = "in" if threshold > 0 else "out"
        checks.append(
            Check(f"trade-off curve, surely {side}", tail.text, tail.p_value, INDEPENDENT)
        )
    return checks
