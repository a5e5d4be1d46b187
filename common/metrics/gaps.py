"""Figures of each group of a column of metadata, and how far apart the groups are.

A gap is the highest group's figure less the lowest's, with the interval of that difference: both
are of the same replicates. Which group is highest is read off the figures themselves, so of many
small groups a gap is too large on average: some of it is the luck of the draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics.counts import Counts
from common.metrics.figure import Figure, figure
from common.metrics.figures import Reading, figures_of
from common.metrics.paired import difference
from common.metrics.thresholds import OperatingPoint
from common.metrics.values import MIN_POSITIVES

BY_CLASS = ("auroc", "false_negative_rate", "specificity")


def column_figures(
    groups: Iterable[tuple[str, Counts]],
    classes: tuple[str, ...],
    point: OperatingPoint | None = None,
) -> dict[str, Any]:
    """Every figure of each group, and the gaps between groups, ready for JSON.

    Args:
        groups: name and counts with an axis (1 + B,) first: of the group itself, and of its
            replicates. They are large, and read one after the other.
        classes: the K names.
        point: what was fitted on validation patients, all groups together.

    Returns:
        ``groups``, ``without_support`` (those that no image is counted in) and ``gaps``.
    """
    read: dict[str, Reading] = {}
    without = []
    for name, draws in groups:
        once = draws.take(0)
        if once.labels:
            again = draws.take(slice(1, None)) if len(draws.sites) > 1 else None
            read[name] = Reading(once, classes, again, point)
        else:
            without.append(name)
    return {
        "groups": {name: figures_of(one) for name, one in read.items()},
        "without_support": without,
        "gaps": _gaps(read, classes, point),
    }


def _gaps(
    read: Mapping[str, Reading], classes: tuple[str, ...], point: OperatingPoint | None
) -> dict[str, Any]:
    """A figure is compared between the groups that have support for it.

    One over several classes needs, in each group, all the classes that any group has: otherwise
    means over other classes would be compared. One of a class needs ten images with it and ten
    without.
    """
    of_class = {
        c: {
            name: one
            for name, one in read.items()
            if min(one.support.positives[k], one.support.negatives[k]) >= MIN_POSITIVES
        }
        for k, c in enumerate(classes)
    }

    def each(name: str) -> dict[str, Figure]:
        return {c: _gap(of_class[c], name, k) for k, c in enumerate(classes)}

    scored = _alike({name: one.support.scored for name, one in read.items()})
    recalled = _alike({name: one.support.recalled for name, one in read.items()})
    gaps: dict[str, Any] = {
        "auroc_macro": _gap({n: read[n] for n in scored}, "auroc_macro"),
        "balanced_accuracy": _gap({n: read[n] for n in recalled}, "balanced_accuracy"),
        **{name: each(name) for name in BY_CLASS},
    }
    if point is not None:
        gaps["at_specificity"] = {"sensitivity": each("at_specificity.sensitivity")}
    return gaps


def _alike(used: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    """The groups in which a mean is over everything that any group has."""
    return [
        name for name, one in used.items() if all((one >= other).all() for other in used.values())
    ]


def _gap(compared: Mapping[str, Reading], name: str, k: int | None = None) -> Figure:
    """The gap in one figure: of class ``k``, or where that is ``None`` of several classes."""
    of = () if k is None else (k,)
    known = {group: float(one.values[name][of]) for group, one in compared.items()}
    known = {group: value for group, value in known.items() if not np.isnan(value)}
    ends: dict[str, str | None] = {"highest": None, "lowest": None}
    gap = figure(np.nan, np.nan, np.nan, None)
    if len(known) > 1:
        top, bottom = (extreme(known, key=known.__getitem__) for extreme in (max, min))
        gap = difference(compared[top], compared[bottom], name, k)
        ends = {"highest": top, "lowest": bottom} if gap["value"] else ends
    return {**gap, "support": {"groups": list(known)}, **ends}
