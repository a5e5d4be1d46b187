"""From a model's logits to the scores that are counted; float64 throughout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_odds(logits: NDArray[np.float64], multi_label: bool) -> NDArray[np.float64]:
    """Each class's log(p / (1 − p)), float64 (n, K).

    Args:
        logits: float64 (n, K).
        multi_label: p is a sigmoid a class, or a softmax over classes.
    """
    if multi_label:
        return logits
    log_p = log_softmax(logits)
    return np.asarray(log_p - np.log(-np.expm1(np.minimum(log_p, -1e-300))))


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p over classes, float64 (n, K); NaN where a model has diverged to infinity."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def log_sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 / (1 + e⁻ˣ)) in the shape given; NaN stays NaN."""
    return np.asarray(-np.logaddexp(0.0, -values))
