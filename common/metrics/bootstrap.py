"""Intervals from a bootstrap of patients that is drawn at each site and added up at the server.

Each site draws as many patients as it has, with replacement, and counts what that draw would have
shown: one replicate. Replicate b of the federation is the sum of the sites' b-th ones, which is
the bootstrap of all patients, stratified by site (Davison and Hinkley, *Bootstrap Methods and
their Application*, 1997, section 3.2). All images of a patient come and go together. No score
leaves the site.

The draws follow from the site's own split key and the part alone. So two models, in one run or in
two, are compared on the same draws: their difference is paired by patient.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from common.errors import MessageError
from common.metrics.counts import CELLS, MAX_CELL, Counts

SUMS = ("losses", "reliability", "in_one_bin", "precision", "sites")
"""The fields of a replicate that are not ``CELLS``."""

MAX_SUM = 1e15
"""Largest sum, or number of pairs, that is believed."""

Scale = Literal["share", "amount", "correlation", "difference"]
"""In [0, 1]; above 0; in [−1, 1]; any number."""


def draw_patients(key: str, label: str, patients: int, replicates: int) -> NDArray[np.int64]:
    """How often each replicate draws each patient.

    Args:
        key: the site's split key; whoever has it can tell which patients a replicate drew.
        label: the site and the part; sites that share a key draw by themselves.
        patients: n.
        replicates: B.

    Returns:
        int64 (B, n); each row adds up to n.
    """
    seed = hmac.new(key.encode(), f"bootstrap {label}".encode(), hashlib.sha256).digest()
    generator = np.random.default_rng(int.from_bytes(seed, "big"))
    drawn = [
        np.bincount(generator.integers(0, patients, patients), minlength=patients)
        for _ in range(replicates if patients else 0)
    ]
    return np.stack(drawn) if drawn else np.zeros((replicates, patients), np.int64)


def interval(
    value: float, replicates: NDArray[np.float64], scale: Scale, fewest: int
) -> tuple[float, float]:
    """95% interval of a figure: Student's, with the replicates' spread, on a scale without ends.

    On the logit (a share), the logarithm (an amount) or Fisher's z (a correlation) an interval
    stays where the figure can be, and near an end it covers at its rate, which the percentiles of
    the replicates do not. A replicate at an end, which is infinite there, is taken as ten times
    nearer to it than the figure. The spread is widened by what resampling few images falls short
    by (Hesterberg, Am. Stat. 69:371, 2015, section 4.2).

    Args:
        value: the figure itself.
        replicates: float64 (B,), NaN where a replicate says nothing of it.
        scale: what kind of figure it is.
        fewest: images of the kind that there are fewest of; at least 2 for an interval.

    Returns:
        NaN twice where fewer than half of the replicates speak, none differs from another, the
        figure is at an end, or it rests on fewer than two images of a kind.
    """
    forward, back, least, most = _SCALES[scale]
    known = replicates[~np.isnan(replicates)]
    speaks = len(known) >= max(2, len(replicates) / 2) and fewest >= 2
    if not (least < value < most and speaks and np.ptp(known) > 0):
        return float("nan"), float("nan")
    inside = known if scale == "difference" else np.clip(known, *_near(value, least, most))
    widened = stdtrit(fewest - 1, 0.975) * np.sqrt(fewest / (fewest - 1))
    half, middle = widened * float(forward(inside).std(ddof=1)), forward(value)
    return float(back(middle - half)), float(back(middle + half))


@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of one site's counts, as they cross the wire.

    A replicate draws among the same images, so its cells are 0 wherever those of the counts are.

    Attributes:
        cells: unsigned (B, S), the fields of ``CELLS`` where the counts are not 0.
        sums: float64 (B, M), all other fields.
    """

    cells: NDArray[Any]
    sums: NDArray[np.float64]

    @staticmethod
    def pack(replicates: Counts, counts: Counts) -> Replicates:
        cells = _flat(replicates, CELLS)[:, _flat(counts, CELLS) > 0]
        smallest = np.min_scalar_type(int(cells.max(initial=0)))
        return Replicates(cells.astype(smallest), _flat(replicates, SUMS).astype(np.float64))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"cells": self.cells, "sums": self.sums}

    @staticmethod
    def from_arrays(
        arrays: Mapping[str, NDArray[Any]], counts: Counts, replicates: int
    ) -> Replicates:
        """Check B replicates of one site's counts that came over the wire.

        Raises:
            MessageError: where a name, shape or dtype is wrong, or a value is not to be believed.
        """
        occupied, sums = int((_flat(counts, CELLS) > 0).sum()), _flat(counts, SUMS).size
        expected = {"cells": ((replicates, occupied), "u"), "sums": ((replicates, sums), "f")}
        if set(arrays) != set(expected):
            raise MessageError(f"replicates: expected {sorted(expected)}, got {sorted(arrays)}")
        for name, (shape, kind) in expected.items():
            value = arrays[name]
            if value.shape != shape or value.dtype.kind != kind:
                raise MessageError(f"replicates '{name}': expected shape {shape} of kind '{kind}'")
            if not np.isfinite(value).all() or (value < 0).any():
                raise MessageError(f"replicates '{name}': a value is negative or not finite")
        if (arrays["cells"] > MAX_CELL).any() or (arrays["sums"] > MAX_SUM).any():
            raise MessageError("replicates: a value is too large to be believed")
        return Replicates(arrays["cells"], arrays["sums"].astype(np.float64))

    def expand(self, counts: Counts) -> Counts:
        """The replicates of one site's counts with all their cells."""
        return merge([(self, counts)])


def merge(answers: Sequence[tuple[Replicates, Counts]]) -> Counts:
    """Add the b-th replicates of at least one site, for each b.

    Only cells that a site has are touched, so that many sites cost little more than one.

    Args:
        answers: each site's replicates, and the counts that they are of.

    Returns:
        Counts with an axis (B,) first.
    """
    replicates, counts = answers[0]
    zero = Counts.zero(len(counts.positives), counts.multi_label, len(replicates.cells))
    cells, sums = _flat(zero, CELLS), _flat(zero, SUMS).astype(np.float64)
    for replicates, counts in answers:
        occupied = np.flatnonzero(_flat(counts, CELLS))
        for total, drawn in zip(cells, replicates.cells, strict=True):
            total[occupied] += drawn
        sums += replicates.sums
    filled = zero.to_arrays()
    for names, flat in ((CELLS, cells), (SUMS, sums)):
        start = 0
        for name in names:
            size, shape, dtype = filled[name][0].size, filled[name].shape, filled[name].dtype
            filled[name] = flat[:, start : start + size].reshape(shape).astype(dtype)
            start += size
    return Counts(**filled)


def _flat(counts: Counts, names: tuple[str, ...]) -> NDArray[Any]:
    """Some fields side by side, in one axis after that of the replicates."""
    first = counts.sites.shape[:-1]
    return np.concatenate([getattr(counts, n).reshape(*first, -1) for n in names], axis=-1)


def _near(value: float, least: float, most: float) -> tuple[float, float]:
    """What is ten times nearer to each end of a scale than ``value``."""
    return least + (value - least) / 10, most - (most - value) / 10 if most < np.inf else most


_SCALES: dict[Scale, tuple[Any, Any, float, float]] = {
    "share": (logit, expit, 0.0, 1.0),
    "amount": (np.log, np.exp, 0.0, np.inf),
    "correlation": (np.arctanh, np.tanh, -1.0, 1.0),
    "difference": (np.positive, np.positive, -np.inf, np.inf),
}
"""There, back, and the ends of the scale."""
