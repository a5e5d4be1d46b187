"""The public grid that scores are counted on; the same at every site, so that counts add up.

It is uniform in the logit of the score, from −16 to 16: scores of rare classes crowd near 0,
where a grid uniform in the score would tie them. A bin holds its lower edge, and the first and
last bin hold what lies beyond.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""1/128 in the logit, each."""

LOGIT_LIMIT = 16.0


def score_bins(log_odds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each score, 0 to BINS − 1, in the shape given; NaN falls into the lowest."""
    clipped = np.clip(np.nan_to_num(log_odds, nan=-LOGIT_LIMIT), -LOGIT_LIMIT, LOGIT_LIMIT)
    found = np.floor((clipped + LOGIT_LIMIT) / (2 * LOGIT_LIMIT) * BINS).astype(np.int64)
    return np.minimum(found, BINS - 1)


def edge_score(edge: int) -> float:
    """The score, as a probability, at the lower edge of a bin."""
    return float(1.0 / (1.0 + np.exp(LOGIT_LIMIT - 2 * LOGIT_LIMIT * edge / BINS)))
