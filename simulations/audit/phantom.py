"""A few phantom patients, drawn in memory, for audits that touch no site's images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort
from simulations.hospitals import FINDINGS, HOSPITALS, draw_image

PATIENTS = 96
PIXELS = 32


def phantom_patients(seed: int, patients: int = PATIENTS, pixels: int = PIXELS) -> Cohort:
    """Patients of the first phantom hospital with one to three images each, half with a nodule.

    Returns:
        Images uint8 (N, 1, pixels, pixels) and labels float32 (N, 2), all in one part.
    """
    rng = np.random.default_rng([seed, 2])
    hospital = replace(HOSPITALS[0], pixels=pixels)
    images: list[NDArray[np.uint8]] = []
    labels: list[list[float]] = []
    rows: list[NDArray[np.int64]] = []
    for _ in range(patients):
        anatomy = rng.normal([0, 0.40, 0.68, 0], [0.05, 0.03, 0.05, 0.1])
        nodule = bool(rng.random() < 0.5)
        count = int(rng.integers(1, 4))
        rows.append(np.arange(len(images), len(images) + count))
        for _ in range(count):
            image, _ = draw_image(hospital, (nodule, False), anatomy, rng)
            images.append(np.rint(image * 255).astype(np.uint8)[None])
            labels.append([float(nodule), 0.0])
    table = np.array(labels, dtype=np.float32).reshape(-1, len(FINDINGS))
    return Cohort(np.stack(images), table, np.arange(len(images)), tuple(rows))
