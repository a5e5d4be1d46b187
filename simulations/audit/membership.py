"""Membership inference at few false alarms, beside the most that the claimed curve allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.audit.attack import Attack
from simulations.audit.curve import TradeoffCurve
from simulations.audit.independent import interval

FALSE_POSITIVE_RATES = (0.001, 0.01)
"""Carlini et al. (2022, "Membership inference attacks from first principles") ask for few."""
LEVEL = 0.05


@dataclass(frozen=True)
class Membership:
    """The attack's true-positive rate at a false-positive rate.

    Attributes:
        asked: the false-positive rate aimed at.
        false_positive_rate: the rate found, at the threshold that keeps it at most as asked.
        false_positive_interval: 95% interval of it (Clopper and Pearson).
        true_positive_rate: at the same threshold.
        true_positive_interval: 95%.
        allowed: largest true-positive rate under the claimed curve at the rate asked.
        allowed_at_most: the same at the upper end of the false-positive interval. A rate found
            above ``allowed`` but below this is chance in the threshold.
    """

    asked: float
    false_positive_rate: float
    false_positive_interval: tuple[float, float]
    true_positive_rate: float
    true_positive_interval: tuple[float, float]
    allowed: float
    allowed_at_most: float


def membership(found: Attack, curve: TradeoffCurve) -> list[Membership]:
    """Call a canary in where its score passes a threshold taken from canaries that are out."""
    outside = np.sort(found.scores[~found.included])[::-1]
    inside = found.scores[found.included]
    results = []
    for rate in FALSE_POSITIVE_RATES:
        threshold = outside[int(rate * len(outside))]
        alarms, hits = int((outside > threshold).sum()), int((inside > threshold).sum())
        false_interval = interval(alarms, len(outside), LEVEL)
        results.append(
            Membership(
                asked=rate,
                false_positive_rate=alarms / len(outside),
                false_positive_interval=false_interval,
                true_positive_rate=hits / len(inside),
                true_positive_interval=interval(hits, len(inside), LEVEL),
                allowed=float(curve.power(rate)),
                allowed_at_most=float(curve.power(false_interval[1])),
            )
        )
    return results
