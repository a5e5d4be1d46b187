"""Noisy steps, as an accountant sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import PrivacyError


@dataclass(frozen=True, order=True)
class Segment:
    """``steps`` equal steps with one sample rate q and one noise multiplier σ."""

    sample_rate: float
    noise_multiplier: float
    steps: int


History = tuple[Segment, ...]
"""Merged segments: each (q, σ) once, in order, each with at least one step."""


def merge(history: Iterable[Segment]) -> History:
    """Add up the steps of equal (q, σ), in a canonical order; composition does not depend on order.

    Raises:
        PrivacyError: on a segment that no accountant covers.
    """
    steps: dict[tuple[float, float], int] = {}
    for segment in history:
        _check(segment)
        key = (segment.sample_rate, segment.noise_multiplier)
        steps[key] = steps.get(key, 0) + segment.steps
    return tuple(sorted(Segment(q, sigma, n) for (q, sigma), n in steps.items() if n > 0))


def _check(segment: Segment) -> None:
    if (
        0 < segment.sample_rate <= 1
        and math.isfinite(segment.noise_multiplier)
        and segment.noise_multiplier > 0
        and segment.steps >= 0
    ):
        return
    raise PrivacyError(f"no accountant covers {segment}: expected 0 < q ≤ 1, σ > 0, steps ≥ 0")
