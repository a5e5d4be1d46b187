"""Canary patients: each lights one pixel of its own, and is in or out by a fair coin.

The coins are what every attack must guess. Half of the canaries have three images, so that a
training that takes images for patients shows. Real patients may stand among them: their images
lie in one corner of the canvas, the canaries' pixels outside it, so that neither meets the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort

SPARE = 512
"""Pixels that nobody lights: what arrives there is noise alone."""
COPIES = 3
"""Images of a canary with several."""


@dataclass(frozen=True)
class Canvas:
    """Where things lie on the square images of an audit.

    Attributes:
        size: height and width.
        canary_pixels: int64 (m,), each canary's own pixel, as an index into the flat image.
        spare_pixels: int64 (s,), lit by nobody.
    """

    size: int
    canary_pixels: NDArray[np.int64]
    spare_pixels: NDArray[np.int64]


@dataclass(frozen=True)
class Canaries:
    """Who is in.

    Attributes:
        included: bool (m,), the coins.
        copies: int64 (m,), images a canary has.
        canvas: where they lie.
        cohort: the canaries that are in, and the other patients.
    """

    included: NDArray[np.bool_]
    copies: NDArray[np.int64]
    canvas: Canvas
    cohort: Cohort

    @property
    def untouched(self) -> NDArray[np.int64]:
        """Pixels that no patient of the cohort lights."""
        return np.concatenate([self.canvas.spare_pixels, self.canvas.canary_pixels[~self.included]])


def lay_out(canaries: int, corner: int) -> Canvas:
    """A canvas with a ``corner`` × ``corner`` square kept for other patients' images."""
    size = math.isqrt(corner**2 + canaries + SPARE - 1) + 1
    outside = np.ones((size, size), dtype=np.bool_)
    outside[:corner, :corner] = False
    pixels = np.flatnonzero(outside)
    return Canvas(size, pixels[:canaries], pixels[canaries:])


def place_canaries(canaries: int, seed: int, others: Cohort) -> Canaries:
    """Toss the coins and make the cohort that will be trained on.

    Args:
        canaries: m.
        seed: what the coins follow from; they need be fair, not secret, since no attack here
            looks at them before it has guessed.
        others: patients that are in whatever the coins say; images (N, C, H, H), of which the
            mean over channels is used, and the first column of labels.
    """
    corner = others.images.shape[-1]
    canvas = lay_out(canaries, corner)
    included = np.random.default_rng([seed, 1]).random(canaries) < 0.5
    copies = np.where(np.arange(canaries) % 2 == 0, COPIES, 1)
    pixels = np.repeat(canvas.canary_pixels[included], copies[included])  # one a row
    images = np.zeros((len(pixels) + len(others.rows), 1, canvas.size, canvas.size), np.uint8)
    images.reshape(len(images), -1)[np.arange(len(pixels)), pixels] = 255
    images[len(pixels) :, 0, :corner, :corner] = others.images[others.rows].mean(axis=1)
    labels = np.ones((len(images), 1), np.float32)
    labels[len(pixels) :, 0] = others.labels[others.rows, 0]
    ends = np.cumsum(copies[included])
    patients = tuple(np.arange(end - n, end) for end, n in zip(ends, copies[included], strict=True))
    moved = {int(row): len(pixels) + i for i, row in enumerate(others.rows)}
    patients += tuple(np.array([moved[int(r)] for r in rows]) for rows in others.patients)
    cohort = Cohort(images, labels, np.arange(len(images)), patients)
    return Canaries(included, copies, canvas, cohort)
