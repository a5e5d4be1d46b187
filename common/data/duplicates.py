"""Images whose pixels are equal: within a patient, across patients, parts and classes.

Within one patient they count once, by a rule on that patient's images alone. Across patients
nothing is removed by itself: one patient's presence would change what another contributes, and the
noise is not made for that. What is to go, the site lists in ``data.exclude`` before its ledger
begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.manifest import Manifest

Group = tuple[int, ...]
"""Rows whose pixels are equal, ascending; two or more."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of equal images; a group may be of several kinds.

    Attributes:
        within: groups with two images of one patient or more.
        across: groups with images of several patients.
        parts: groups with images in several parts (train, validation, test).
        conflicts: groups whose images have labels that contradict each other.
    """

    within: tuple[Group, ...]
    across: tuple[Group, ...]
    parts: tuple[Group, ...]
    conflicts: tuple[Group, ...]

    @staticmethod
    def of(digests: Sequence[bytes | None], manifest: Manifest, parts: Sequence[str]) -> Duplicates:
        """Sort equal images into kinds.

        Args:
            digests: n, of each image's pixels; ``None`` where it cannot be read.
            manifest: n images.
            parts: n names, of the part that each row's patient is in.
        """
        groups = equal_groups(digests)
        owners = [{manifest.patients[row] for row in group} for group in groups]
        pairs = list(zip(groups, owners, strict=True))
        return Duplicates(
            within=tuple(group for group, own in pairs if len(own) < len(group)),
            across=tuple(group for group, own in pairs if len(own) > 1),
            parts=tuple(group for group in groups if len({parts[row] for row in group}) > 1),
            conflicts=tuple(g for g in groups if contradict(manifest.labels[list(g)])),
        )


def equal_groups(digests: Sequence[bytes | None]) -> list[Group]:
    """Rows of equal digest, in the order of each group's first row."""
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest is not None:
            rows.setdefault(digest, []).append(row)
    return [tuple(group) for group in rows.values() if len(group) > 1]


def contradict(labels: NDArray[np.float32]) -> bool:
    """Whether one image, labelled several times, has a class and has it not; NaN is unknown.

    Args:
        labels: float32 (m, K).
    """
    return bool(((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any())


def once(
    rows: NDArray[np.int64], files: Sequence[str], digests: Sequence[bytes]
) -> NDArray[np.int64]:
    """One patient's rows without those that repeat an image.

    Of equal images the first by file name stays, so that the answer depends on this patient alone.

    Args:
        rows: int64 (m,), of one patient.
        files: m names.
        digests: m, of the pixels.

    Returns:
        int64 (at most m,), in the order given.
    """
    first: dict[bytes, int] = {}
    for index in sorted(range(len(rows)), key=lambda i: files[i]):
        first.setdefault(digests[index], index)
    return rows[sorted(first.values())]
