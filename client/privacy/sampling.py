"""Poisson sampling of patients: what the amplification in the accountant assumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from client.privacy.entropy import SecretStream


def poisson_batches(
    patients: Sequence[NDArray[np.int64]],
    sample_rate: float,
    steps: int,
    stream: SecretStream,
) -> Iterator[NDArray[np.int64]]:
    """Draw each step's rows: every patient with probability q, of each one image at random.

    One patient therefore gives at most one row to a step, however many images it has: that, with
    the clip, is why ε is the patient's. A step may be empty; it is a step all the same.

    Args:
        patients: for each patient the rows of its images.
        sample_rate: q, a public constant.
        steps: number of batches.
        stream: secret: whoever knew who was drawn would undo the amplification.

    Yields:
        int64 (m,): one row for each patient drawn; m is random and may be 0.
    """
    for _ in range(steps):
        drawn = np.flatnonzero(stream.uniform(len(patients)) < sample_rate).tolist()
        picks = stream.uniform(len(drawn))
        rows = [patients[i][int(u * len(patients[i]))] for i, u in zip(drawn, picks, strict=True)]
        yield np.array(rows, dtype=np.int64)
