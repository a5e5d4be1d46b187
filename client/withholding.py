"""What too few patients have is withheld whole: classes, and classes within a group of metadata."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort


def patient_labels(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """One patient's label for each class.

    Args:
        labels: float32 (m, K) of its images, NaN where unknown.

    Returns:
        float32 (K,): 1 where any image has the class, 0 where every known one has not, NaN where
        none is known.
    """
    return np.asarray(np.fmax.reduce(labels, axis=0), dtype=np.float32)


def few_patients(cohort: Cohort, multi_label: bool, min_count: int) -> NDArray[np.bool_]:
    """Classes that too few patients of ``cohort`` have, or in a multi-label task have not.

    Returns:
        bool (K,). Having none is having too few: a withheld class may have none or some.
    """
    has, has_not = np.zeros((2, cohort.labels.shape[1]), np.int64)
    for rows in cohort.patients:
        label = patient_labels(cohort.labels[rows])
        has += label == 1
        has_not += label == 0
    few: NDArray[np.bool_] = has < min_count
    return few | (has_not < min_count) if multi_label else few


def few_by_group(
    cohort: Cohort, groups: NDArray[np.int64], number: int, multi_label: bool, min_count: int
) -> NDArray[np.bool_]:
    """Classes that are withheld from each group of one column.

    A cell, a class in a group, is withheld where too few patients have it. The groups that are
    shown can be subtracted from all patients together. So where that would leave a class in the
    images of a few patients, but of some, the class is withheld from every group of the column.

    Args:
        cohort: of N images, without the classes that are withheld from all patients.
        groups: int64 (N,), the group of each image.
        number: G, how many groups there are.
        multi_label: as in :func:`few_patients`.
        min_count: likewise.

    Returns:
        bool (G, K).
    """
    parts = [keep_images(cohort, groups == group) for group in range(number)]
    few = np.stack([few_patients(part, multi_label, min_count) for part in parts])
    left = np.where(few[groups], cohort.labels, np.float32(np.nan))
    for side in (1, 0) if multi_label else (1,):
        patients = np.zeros(left.shape[1], np.int64)
        for rows in cohort.patients:
            patients += (left[rows] == side).any(axis=0)
        few |= (patients > 0) & (patients < min_count)
    return few


def withhold(cohort: Cohort, withheld: NDArray[np.bool_], multi_label: bool) -> Cohort:
    """``cohort`` as if it had none of the withheld classes' labels, nor, single-label, images.

    Args:
        cohort: left as it is.
        withheld: bool (K,).
        multi_label: each class has its own labels, so its images can stay for the others. A
            single label is one of all classes: an image that stayed would count among the
            others' negatives, and give away how many there are. It goes by its own label,
            whatever else its patient has.
    """
    hidden = replace(cohort, labels=np.where(withheld, np.float32(np.nan), cohort.labels))
    if multi_label:
        return hidden
    return keep_images(hidden, ~(cohort.labels[:, withheld] == 1).any(axis=1))


def keep_images(cohort: Cohort, stays: NDArray[np.bool_]) -> Cohort:
    """``cohort`` with those images alone for which bool (N,) ``stays`` is true."""
    patients = tuple(rows[stays[rows]] for rows in cohort.patients if stays[rows].any())
    return replace(cohort, rows=cohort.rows[stays[cohort.rows]], patients=patients)
