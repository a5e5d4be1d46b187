"""Counts that add up across sites.

A site turns its scores into :class:`Counts` on a fixed public grid; counts of several sites are
added, and :mod:`common.metrics.figures` reads them. No average of averages: pooled figures are
those of the pooled images, up to the grid's resolution, whose effect is bounded and printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import MessageError
from common.metrics.grid import BINS
from common.metrics.ranking import pairs_in_one_bin

RELIABILITY_BINS = 15
"""Of equal width in the probability: Guo et al., ICML 2017."""

TEMPERATURES = 2.0 ** (np.arange(-16, 25) / 8.0)
"""float64 (41,), the public grid on which the log loss is summed, from ¼ to 8."""

CELLS = ("positives", "negatives", "confusion", "confidence")
"""The fields that hold how many images or labels there are of a kind."""

MAX_CELL = 10_000_000
"""Largest count that is believed."""


@dataclass(frozen=True)
class Counts:
    """What is known of scored images, addable; of K classes, in ``BINS`` bins.

    Bootstrap replicates are the same with an axis of replicates before the others, and without
    ``temperatures``.

    Attributes:
        positives: int64 (K, BINS), images of class k by the bin of their score for k.
        negatives: int64 (K, BINS), images not of class k likewise.
        confusion: int64 (K, K), true class by predicted class; for a multi-label task
            int64 (K, 2, 2), truth by prediction at a threshold of 0.5.
        confidence: int64 (2, BINS), wrong and right decisions by the bin of the probability of
            what was decided: of an image, or multi-label of a label.
        losses: float64 (2, 2), as the model is and at the temperature asked for: the sum of
            −log(probability) of what was observed, and of Brier's score.
        reliability: float64 (2, RELIABILITY_BINS, 3), likewise by the bin of a probability: how
            many, the sum of the probabilities, how many of them came true. The probability is of
            the class decided for, or multi-label of each class.
        in_one_bin: int64 (K + 1, 2), for each class and for all together: pairs of a positive and
            a negative of one site that are in one bin, and their credit in halves (2 where the
            positive's score is higher, 1 where it is equal).
        precision: float64 (K + 1,), the sum over positives of their precision, exact; of one site.
        temperatures: float64 (41,), the sum of −log(probability) at each of ``TEMPERATURES``.
        sites: int64 (1,), how many sites these counts are of.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    confusion: NDArray[np.int64]
    confidence: NDArray[np.int64]
    losses: NDArray[np.float64]
    reliability: NDArray[np.float64]
    in_one_bin: NDArray[np.int64]
    precision: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    sites: NDArray[np.int64]

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{n: v + getattr(other, n) for n, v in self.to_arrays().items()})

    @property
    def multi_label(self) -> bool:
        return self.confusion.ndim > self.positives.ndim

    @property
    def labels(self) -> NDArray[np.int64]:
        """How many decisions were counted: images, or multi-label known labels."""
        return np.asarray(self.confidence.sum(axis=(-2, -1)))

    @staticmethod
    def zero(num_classes: int, multi_label: bool, replicates: int | None = None) -> Counts:
        first = () if replicates is None else (replicates,)
        confusion = (num_classes, 2, 2) if multi_label else (num_classes, num_classes)
        return Counts(
            positives=np.zeros((*first, num_classes, BINS), np.int64),
            negatives=np.zeros((*first, num_classes, BINS), np.int64),
            confusion=np.zeros((*first, *confusion), np.int64),
            confidence=np.zeros((*first, 2, BINS), np.int64),
            losses=np.zeros((*first, 2, 2)),
            reliability=np.zeros((*first, 2, RELIABILITY_BINS, 3)),
            in_one_bin=np.zeros((*first, num_classes + 1, 2), np.int64),
            precision=np.zeros((*first, num_classes + 1)),
            temperatures=np.zeros((*first, len(TEMPERATURES))),
            sites=np.zeros((*first, 1), np.int64),
        )

    def take(self, draws: int | slice) -> Counts:
        """Copy some of the replicates out: one without their axis, or several with it."""
        return Counts(**{name: np.array(v[draws]) for name, v in self.to_arrays().items()})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @staticmethod
    def from_arrays(
        arrays: Mapping[str, NDArray[Any]], num_classes: int, multi_label: bool
    ) -> Counts:
        """Unpack one site's counts that came over the wire.

        Raises:
            MessageError: where a shape or dtype is wrong, a count is negative or not finite, or
                counts of one thing contradict each other.
        """
        expected = Counts.zero(num_classes, multi_label).to_arrays()
        for name, zero in expected.items():
            value = arrays.get(name)
            if value is None or value.shape != zero.shape or value.dtype != zero.dtype:
                raise MessageError(f"counts '{name}': expected {zero.dtype} of shape {zero.shape}")
            if not np.isfinite(value).all() or (value < 0).any():
                raise MessageError(f"counts '{name}': a count is negative or not finite")
            if name in CELLS and (value > MAX_CELL).any():
                raise MessageError(f"counts '{name}': a count is above {MAX_CELL}")
        if set(arrays) != set(expected):
            raise MessageError(f"counts: expected {sorted(expected)}, got {sorted(arrays)}")
        counts = Counts(**arrays)
        counts.check()
        return counts

    def with_all(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positives and negatives (…, K + 1, BINS): of each class, and of all classes together."""
        sides = (self.positives, self.negatives)
        one, other = (np.concatenate([s, s.sum(axis=-2, keepdims=True)], axis=-2) for s in sides)
        return one, other

    def check(self) -> None:
        """What one site's counts cannot contradict.

        Raises:
            MessageError: naming the field.
        """
        pairs, credit = self.in_one_bin[:, 0], self.in_one_bin[:, 1]
        positives, negatives = self.with_all()
        totals = positives.sum(axis=-1)
        if (pairs != pairs_in_one_bin(positives, negatives)).any() or (credit > 2 * pairs).any():
            raise MessageError("counts 'in_one_bin': other pairs than the scores have")
        if (self.precision > totals * (1 + 1e-12)).any():
            raise MessageError("counts 'precision': above the number of positives")
        if self.confusion.sum() != self.labels:
            raise MessageError("counts 'confidence': expected as many as in 'confusion'")
        if (self.reliability[:, :, 1:] > self.reliability[:, :, :1] * (1 + 1e-12)).any():
            raise MessageError("counts 'reliability': a share above 1")
        if self.sites[0] != 1:
            raise MessageError("counts 'sites': expected 1")
