"""Poisson sampling of patients: what the amplification in the accountant assumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def poisson_batches(
    patients: Sequence[NDArray[np.int64]],
    sample_rate: float,
    steps: int,
    generator: torch.Generator,
) -> Iterator[NDArray[np.int64]]:
    """Draw each step's rows: every patient with probability q, of each one image at random.

    One patient therefore gives at most one row to a step, however many images it has: that, with
    the clip, is why ε is the patient's. A step may be empty; it is a step all the same.

    Args:
        patients: for each patient the rows of its images.
        sample_rate: q, a public constant.
        steps: number of batches.
        generator: secret, see ``entropy.py``.

    Yields:
        int64 (m,): one row for each patient drawn; m is random and may be 0.
    """
    for _ in range(steps):
        drawn = torch.rand(len(patients), generator=generator) < sample_rate
        chosen = [patients[i] for i in drawn.nonzero().flatten().tolist()]
        picks = torch.rand(len(chosen), generator=generator).tolist()
        rows = [r[int(u * len(r))] for r, u in zip(chosen, picks, strict=True)]
        yield np.array(rows, dtype=np.int64)
