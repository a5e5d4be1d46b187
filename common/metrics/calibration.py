"""How far probabilities can be believed, and what a model that may abstain or hedge gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.metrics.counts import RELIABILITY_BINS, TEMPERATURES, Counts
from common.metrics.ranking import ratio

Floats = NDArray[np.float64]


def calibration_error(reliability: Floats) -> Floats:
    """Expected calibration error: Σ over bins of their share × |came true − probability|.

    Naeini, Cooper and Hauskrecht, AAAI 2015, with the bins of Guo et al., ICML 2017. Of few images
    it is too high: chance alone puts a bin off.

    Args:
        reliability: float64 (…, RELIABILITY_BINS, 3) of :class:`Counts`.
    """
    off = np.abs(reliability[..., 2] - reliability[..., 1]).sum(axis=-1)
    return ratio(off, reliability[..., 0].sum(axis=-1))


def reliability_bins(reliability: Floats) -> list[dict[str, float | int | None]]:
    """The reliability diagram, a bin an entry: its edges, and what its forecasts came to."""
    return [
        {
            "from": i / RELIABILITY_BINS,
            "to": (i + 1) / RELIABILITY_BINS,
            "probability": float(probability / number) if number else None,
            "came_true": float(came_true / number) if number else None,
            "support": int(number),
        }
        for i, (number, probability, came_true) in enumerate(reliability)
    ]


def fit_temperature(sums: Floats) -> float:
    """The temperature of the least log loss (Guo et al., ICML 2017, section 4.2).

    The least of the public grid, refined by the parabola in log T through it and its neighbours;
    an end of the grid stays what it is.

    Args:
        sums: float64 (41,), ``temperatures`` of pooled :class:`Counts`.
    """
    i = int(sums.argmin())
    if not 0 < i < len(sums) - 1:
        return float(TEMPERATURES[i])
    before, least, after = sums[i - 1 : i + 2]
    bend = before - 2 * least + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(TEMPERATURES[i] * (TEMPERATURES[i + 1] / TEMPERATURES[i]) ** shift)


def selective_accuracy(counts: Counts) -> tuple[Floats, Floats]:
    """What is decided, and how much of it rightly, at each edge of certainty.

    Returns:
        Two float64 (…, BINS): the share of decisions at least as certain as the bin's lower
        edge, and the share of those that is right (NaN where there is none).
    """
    at_least = np.cumsum(counts.confidence[..., ::-1], axis=-1)[..., ::-1]  # (…, 2, BINS)
    decided = at_least.sum(axis=-2)
    return ratio(decided, decided[..., :1]), ratio(at_least[..., 1, :], decided)


def conformal_edge(counts: Counts, coverage: float) -> int | None:
    """Edge of the scores at which prediction sets hold the truth as often as wanted.

    Split conformal prediction with the score of the true class (LAC: Sadinle, Lei and Wasserman,
    JASA 114:223, 2019): of n held-out scores the ⌊(n + 1)(1 − coverage)⌋-th smallest, rounded down
    to an edge of the grid, which makes sets larger and never smaller. A set holds each class
    whose score is at least the edge. Multi-label: each label is a question with two answers.

    Returns:
        The edge; ``None`` where so few images allow no set but that of all classes.
    """
    true, _ = _set_scores(counts)
    rank = int(np.floor((true.sum() + 1) * (1 - coverage) + 1e-9))
    if rank < 1:
        return None
    return int(np.searchsorted(np.cumsum(true), rank))


def conformal_sets(counts: Counts, edge: int) -> tuple[Floats, Floats]:
    """The share of sets that hold the truth, and how many answers a set holds: float64 (…)."""
    true, false = _set_scores(counts)
    held, total = true[..., edge:].sum(axis=-1), true.sum(axis=-1)
    return ratio(held, total), ratio(held + false[..., edge:].sum(axis=-1), total)


def _set_scores(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and false answers by the bin of their score, int64 (…, BINS)."""
    true = counts.positives.sum(axis=-2)
    false = counts.negatives.sum(axis=-2)
    if not counts.multi_label:
        return true, false
    # "not the class" has the score 1 − p, which is the bin's mirror
    return true + false[..., ::-1], false + true[..., ::-1]
