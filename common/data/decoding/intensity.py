"""Which grey levels of an image become black and white.

Every rule looks at one image alone, or at public constants. A range that was fitted on a site's
images would let one patient change how the others look.

    auto        DICOM as ``extremes``, files that were rendered already as ``display``
    display     the file's own: the window or VOI table; full scale where there is none
    extremes    the image's least and greatest level
    percentile  two percentiles of the image's levels, so that a marker or a hot pixel counts little
    range       two constants, in the unit of the levels: after the modality step (HU, for CT) and
                instead of the window; stored levels where the file is no DICOM file
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.data.decoding.choices import Intensity
from common.errors import DataError

PERCENTILES = (1.0, 99.0)


def limits_of(
    levels: NDArray[np.float64],
    counts: NDArray[np.int64],
    intensity: Intensity,
    bounds: tuple[float, ...],
) -> tuple[float, float]:
    """The levels that become black and white, but for ``display`` and ``auto``.

    Args:
        levels: (n,), every level that the image has, in any order.
        counts: (n,), how many pixels have it; not read but for ``percentile``.
        intensity: the rule.
        bounds: two constants for ``range``; two percents for ``percentile``, or none for 1 and 99.

    Raises:
        DataError: where levels are not finite.
    """
    if not np.isfinite(levels).all():
        raise DataError("its pixels hold values that are not finite")
    if intensity == "range":
        return bounds[0], bounds[1]
    if intensity == "percentile":
        order = np.argsort(levels)
        below = np.cumsum(counts[order]) / counts.sum()
        wanted = np.array(bounds or PERCENTILES) / 100
        places = np.minimum(np.searchsorted(below, wanted), len(order) - 1)
        low, high = levels[order][places]
        return float(low), float(high)
    return float(levels.min()), float(levels.max())


def stored_levels(
    stored: NDArray[np.generic],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Every value that an image holds and how often, as the two arguments of :func:`limits_of`."""
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        low = int(stored.min())
        counts = np.bincount(stored.reshape(-1).astype(np.int32) - low)
        present = np.flatnonzero(counts)
        return (present + low).astype(np.float64), counts[present]
    values, counts = np.unique(stored, return_counts=True)
    return values.astype(np.float64), counts
