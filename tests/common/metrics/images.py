"""Scored images with known truth."""

from __future__ import annotations

import numpy as np

from common.metrics import Scored

CLASSES = ("a", "b", "c")


def single_label(n: int, seed: int = 0, temperature: float = 1.0) -> Scored:
    """Logits that agree somewhat with classes of 70%, 20% and 10%."""
    rng = np.random.default_rng(seed)
    labels = np.eye(3, dtype=np.float32)[rng.choice(3, n, p=[0.7, 0.2, 0.1])]
    logits = rng.normal(0, 1.5, (n, 3)) + 1.2 * labels
    return Scored(logits, labels, multi_label=False, temperature=temperature)


def multi_label(n: int, seed: int = 0, unknown: float = 0.1) -> Scored:
    """Logits of two independent labels, of which some are unknown."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 2)) < [0.4, 0.2]).astype(np.float32)
    logits = rng.normal(0, 1.0, (n, 2)) + 2.0 * labels - 1.0
    labels[rng.random((n, 2)) < unknown] = np.nan
    return Scored(logits, labels, multi_label=True)
