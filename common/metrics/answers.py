"""What an operating point makes of one image's scores, by the same edges as in its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.metrics.grid import BINS, score_bins
from common.metrics.scores import log_odds, log_sigmoid, log_softmax
from common.metrics.thresholds import Edges, OperatingPoint


@dataclass(frozen=True)
class Answers:
    """What follows from thresholds and temperature.

    Attributes:
        calibrated: each class's probability at the fitted temperature.
        conformal_set: every answer that the wanted coverage cannot leave out. Where there are
            several or none, the model had better abstain. Of several labels ``not LABEL`` is an
            answer too. ``None`` where validation had too few images.
        at_specificity: the classes that are called at the wanted specificity.
        at_sensitivity: likewise.
    """

    calibrated: tuple[float, ...]
    conformal_set: tuple[str, ...] | None
    at_specificity: tuple[str, ...]
    at_sensitivity: tuple[str, ...]


def answers_of(
    point: OperatingPoint,
    logits: NDArray[np.float64],
    classes: tuple[str, ...],
    multi_label: bool,
) -> Answers:
    """Answers on one image.

    Args:
        point: what was fitted on validation patients.
        logits: float64 (K,), as the model gives them.
        classes: the K names.
        multi_label: which kind of task it is.
    """
    bins = score_bins(log_odds(logits[None], multi_label))[0]
    log_p = log_sigmoid if multi_label else log_softmax
    calibrated = np.exp(log_p(logits[None] / point.temperature))[0]
    return Answers(
        tuple(calibrated.tolist()),
        None if point.conformal is None else _set(bins, point.conformal, classes, multi_label),
        _called(bins, point.at_specificity, classes),
        _called(bins, point.at_sensitivity, classes),
    )


def _called(bins: NDArray[np.int64], edges: Edges, classes: tuple[str, ...]) -> tuple[str, ...]:
    rows = zip(classes, bins.tolist(), edges, strict=True)
    return tuple(name for name, own, edge in rows if edge is not None and own >= edge)


def _set(
    bins: NDArray[np.int64], edge: int, classes: tuple[str, ...], multi_label: bool
) -> tuple[str, ...]:
    held = [name for name, own in zip(classes, bins.tolist(), strict=True) if own >= edge]
    if multi_label:  # "not the class" has the score 1 − p, which is the bin's mirror
        mirrored = zip(classes, (BINS - 1 - bins).tolist(), strict=True)
        held += [f"not {name}" for name, own in mirrored if own >= edge]
    return tuple(held)
