"""Counts of patients by coarse score, which noise can cover, and the AUROC that they support.

Each patient adds one count a class: to the positives or to the negatives, in one of ten fixed
bins. Adding or removing a patient thus moves all cells together by at most √K in L2 norm for K
classes, which is what the noise is scaled by (``client/evaluation.py``). Histograms of several
sites add up, and so do the variances of their noise.

These figures are of patients; those of :mod:`common.metrics` are of images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import MessageError
from common.metrics.figure import Figure, figure
from common.metrics.grid import LOGIT_LIMIT

EDGES = (-6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
"""Public edges in the log-odds of the score; a bin holds its lower edge.

Unit steps where a calibrated model's scores lie, for prevalences of 3% to 70%; wider ones beyond,
for rarer classes and overconfident models. More bins would split the same patients over more
noise. On calibrated binormal scores of AUROC 0.8 the binned AUROC is lower by 0.013 at a
prevalence of 10% or 50%, by 0.020 at 3% and by 0.042 at 1%."""

PATIENT_BINS = len(EDGES) + 1

NOISE_LIMIT = 3.0
"""A class whose positives (or negatives) add up to fewer than this many standard deviations of
that sum's noise has no figure: nothing says that it has any."""

Z95 = 1.959964
"""97.5% quantile of the standard normal distribution."""

MAX_CELL = 1e9
"""Largest cell, and largest noise, that is believed."""

_CREDIT = np.tril(np.ones((PATIENT_BINS, PATIENT_BINS)), -1) + 0.5 * np.eye(PATIENT_BINS)
"""What a positive in bin b scores against a negative in bin c: 1 above it, ½ beside it, else 0."""


@dataclass(frozen=True)
class Histograms:
    """Patients by the bin of their score for each class, addable; exact or noised.

    Attributes:
        positives: float64 (K, PATIENT_BINS), patients with class k; under noise a cell may be
            negative.
        negatives: float64 (K, PATIENT_BINS), patients without it likewise.
        noise_std: standard deviation of the independent Gaussian noise on each cell; 0 is exact.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    noise_std: float

    def __add__(self, other: Histograms) -> Histograms:
        return Histograms(
            self.positives + other.positives,
            self.negatives + other.negatives,
            math.hypot(self.noise_std, other.noise_std),
        )

    @staticmethod
    def zero(num_classes: int) -> Histograms:
        shape = num_classes, PATIENT_BINS
        return Histograms(np.zeros(shape), np.zeros(shape), 0.0)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "noise_std": np.array([self.noise_std]),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], num_classes: int) -> Histograms:
        """Unpack histograms that came over the wire.

        Raises:
            MessageError: where a name, shape or dtype is wrong, or a value is not finite or not
                to be believed. A negative cell is allowed, a negative ``noise_std`` is not.
        """
        expected = Histograms.zero(num_classes).to_arrays()
        if set(arrays) != set(expected):
            raise MessageError(f"histograms: expected {sorted(expected)}, got {sorted(arrays)}")
        for name, zero in expected.items():
            value = arrays[name]
            if value.shape != zero.shape or value.dtype != zero.dtype:
                raise MessageError(
                    f"histograms '{name}': expected {zero.dtype} of shape {zero.shape}"
                )
            if not (np.abs(value) <= MAX_CELL).all():  # NaN compares as false
                raise MessageError(f"histograms '{name}': a value is not finite, or above 1e9")
        noise_std = float(arrays["noise_std"][0])
        if noise_std < 0:
            raise MessageError("histograms 'noise_std': expected at least 0")
        return Histograms(arrays["positives"], arrays["negatives"], noise_std)


@dataclass(frozen=True)
class Estimate:
    """An AUROC and what it may be off by; all NaN where the histograms say nothing of it.

    Attributes:
        value: within [0, 1].
        sampling: variance from the draw of patients; NaN with fewer than two of either kind.
        noise: variance from the noise on the cells.
        bin_error: bound on the error of the bins: half the share of pairs that share one.
    """

    value: float
    sampling: float
    noise: float
    bin_error: float


def patient_bins(log_odds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each score, 0 to PATIENT_BINS − 1, in the shape given; NaN falls into the lowest."""
    known = np.nan_to_num(log_odds, nan=-LOGIT_LIMIT)
    return np.asarray(np.searchsorted(EDGES, known, side="right"), dtype=np.int64)


def count_patients(log_odds: NDArray[np.float64], labels: NDArray[np.float32]) -> Histograms:
    """Count scored patients, exactly.

    Args:
        log_odds: float64 (n, K), one score a patient and class.
        labels: float32 (n, K) of 0 and 1; NaN, where unknown, adds nothing.
    """
    histograms = Histograms.zero(labels.shape[1])
    bins = patient_bins(log_odds)
    for k in range(labels.shape[1]):
        for truth, cells in ((1, histograms.positives[k]), (0, histograms.negatives[k])):
            cells += np.bincount(bins[labels[:, k] == truth, k], minlength=PATIENT_BINS)
    return histograms


def estimate_auroc(
    positives: NDArray[np.float64], negatives: NDArray[np.float64], noise_std: float
) -> Estimate:
    """AUROC of one class from noised cells.

    With p and n the cells, P and N their sums, and M the credit of a positive against a negative,
    the value is A = pᵀMn / PN. Numerator and denominator are bilinear in independent cells, so
    the noise leaves each without bias as long as no cell is clipped. Cells clipped at 0 pull A
    towards ½ at every site, which no pooling averages out: by 0.03 where this is off by 0.002
    (100 patients, ε=8), and by 0.04 where it is off by 0.007 (400 patients, ε=1).

    The noise's variance is the delta method's with its second order, for Q = M − A and cell
    variance s²: (s²‖Qn‖² + s²‖Qᵀp‖² + s⁴‖Q‖²) / (PN)². The sampling variance is its upper bound
    for any distribution of scores, A(1 − A) / min(P, N) (Birnbaum and Klose 1957, after van
    Dantzig 1951): it needs no cell, so noise cannot drive it to 0 or below.

    Args:
        positives: float64 (PATIENT_BINS,).
        negatives: float64 (PATIENT_BINS,).
        noise_std: standard deviation of the noise on each cell.
    """
    total, rest = float(positives.sum()), float(negatives.sum())
    fewer = min(total, rest)
    if fewer < max(0.5, NOISE_LIMIT * noise_std * math.sqrt(PATIENT_BINS)):
        return Estimate(math.nan, math.nan, math.nan, math.nan)
    pairs = total * rest
    raw = float(positives @ _CREDIT @ negatives) / pairs
    value = min(max(raw, 0.0), 1.0)
    q, variance = _CREDIT - raw, noise_std**2
    linear = float(((q @ negatives) ** 2).sum() + ((positives @ q) ** 2).sum())
    noise = variance * (linear + variance * float((q**2).sum())) / pairs**2
    sampling = value * (1.0 - value) / fewer if fewer >= 2 else math.nan
    shared = float(positives @ negatives) / (2.0 * pairs)
    return Estimate(value, sampling, noise, min(max(shared, 0.0), 0.5))


def histogram_figures(histograms: Histograms, classes: tuple[str, ...]) -> dict[str, Any]:
    """The AUROC of each class and their mean, ready for JSON, as :func:`common.metrics.figures`.

    An interval is 1.96 standard deviations of sampling and noise together, and the bins' error
    beyond that. A macro figure takes its classes' sampling errors as perfectly correlated, which
    is the widest they can be; the noise of two classes is independent. Patients are taken as
    independent. Under noise the supports and ``bin_error`` are estimates too.

    A class that the noise hides has value ``None`` and is left out of the macro figure, by name.
    One that just escaped has its size overestimated, and its AUROC drawn towards ½.
    """
    by_class = {
        name: estimate_auroc(histograms.positives[k], histograms.negatives[k], histograms.noise_std)
        for k, name in enumerate(classes)
    }
    support = {
        name: {
            "positives": max(0, round(float(histograms.positives[k].sum()))),
            "negatives": max(0, round(float(histograms.negatives[k].sum()))),
        }
        for k, name in enumerate(classes)
    }
    scored = [name for name in classes if not math.isnan(by_class[name].value)]
    used = [by_class[name] for name in scored]
    return {
        "auroc_macro": _figure(used, {"classes": scored}),
        "auroc": {c: _figure([by_class[c]] if c in scored else [], support[c]) for c in classes},
        "left_out": [c for c in classes if c not in scored],
        "noise_std": histograms.noise_std,
        "bin_error": max((e.bin_error for e in used), default=None),
    }


def _figure(estimates: list[Estimate], support: Any) -> Figure:
    """The mean of some classes' estimates, with its interval, cut to [0, 1]."""
    if not estimates:
        return figure(math.nan, math.nan, math.nan, support)
    value = float(np.mean([e.value for e in estimates]))
    bin_error = float(np.mean([e.bin_error for e in estimates]))
    sampling = float(np.mean([math.sqrt(e.sampling) for e in estimates]))
    noise = sum(e.noise for e in estimates) / len(estimates) ** 2
    half = Z95 * math.sqrt(sampling**2 + noise) + bin_error
    return figure(value, np.maximum(0.0, value - half), np.minimum(1.0, value + half), support)
