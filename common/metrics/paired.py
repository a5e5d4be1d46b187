"""The difference of two models on the same patients, by a paired bootstrap.

The draws follow from the site's split key, its name and the part, so the b-th replicates of two
models are of the same patients: the spread of their differences is without what both have in
common, such as that one draw has harder images than another. Two groups of patients of one model
(``gaps.py``) are parts of the same draws likewise.
"""

from __future__ import annotations

import numpy as np

from common.metrics.bootstrap import interval
from common.metrics.figure import Figure, figure
from common.metrics.figures import SCALES, Reading


def difference(model: Reading, baseline: Reading, name: str, k: int | None = None) -> Figure:
    """Model minus baseline, with its 95% interval; without, where either figure has none.

    Args:
        model: read from the counts of the same images as ``baseline``, with their replicates.
        baseline: what is taken off.
        name: of the figure.
        k: of which class; ``None`` for a figure of all.
    """
    of = () if k is None else (k,)
    one, other = (float(read.values[name][of]) for read in (model, baseline))
    ends = (np.nan, np.nan)
    if name in model.spread and _moves(name, one) and _moves(name, other):
        again = model.spread[name][:, *of] - baseline.spread[name][:, *of]
        used = np.flatnonzero(model.support.scored) if k is None else np.array([k])
        fewest = int(np.minimum(model.fewer, baseline.fewer)[used].min()) if len(used) else 0
        ends = interval(one - other, again, "difference", fewest)
    return figure(one - other, *ends, int(model.counts.labels))


def _moves(name: str, value: float) -> bool:
    """Whether resampling can move a figure: a share of 0 or 1 stays what it is."""
    return SCALES.get(name, "share") != "share" or 0 < value < 1
