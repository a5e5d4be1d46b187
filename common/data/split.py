"""Which part each patient belongs to, decided for that patient alone.

A patient's part is a keyed hash of the patient's id, compared with fixed thresholds. Removing a
patient therefore moves nobody else: the privacy proof needs two neighbouring data sets to differ
in one patient only, and a split by seeded permutation would shift hundreds across. All images of
a patient are on one side by construction.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


def unit_interval(key: str, patient: str) -> float:
    """Map a patient's id to [0, 1) by HMAC-SHA256 under ``key`` (RFC 2104), top 53 bits."""
    digest = hmac.new(key.encode(), patient.encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def part_of(key: str, patient: str, test_fraction: float, validation_fraction: float) -> Part:
    """The part of one patient: a function of its id and of constants, of nothing else."""
    place = unit_interval(key, patient)
    if place < test_fraction:
        return "test"
    if place < test_fraction + validation_fraction:
        return "validation"
    return "train"


def rows_of_part(
    patients: Sequence[str],
    part: Part,
    key: str,
    test_fraction: float,
    validation_fraction: float,
) -> NDArray[np.int64]:
    """Rows whose patient belongs to ``part``, in the table's order.

    Args:
        patients: n ids, one a row.
        part: which part is wanted.
        key: the split's key; the site's own, fixed for its life.
        test_fraction: expected share of patients in ``test``.
        validation_fraction: expected share of patients in ``validation``.

    Returns:
        int64 (m,), ascending.
    """
    parts = {p: part_of(key, p, test_fraction, validation_fraction) for p in set(patients)}
    return np.array([i for i, p in enumerate(patients) if parts[p] == part], dtype=np.int64)
