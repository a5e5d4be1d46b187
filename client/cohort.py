"""One part of a site's patients, ready to train or evaluate on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.cache import decoded_images
from client.site import Site
from common.config import Experiment
from common.data.split import Part


@dataclass(frozen=True)
class Cohort:
    """The decoded images of a part, indexed by image and by patient.

    Attributes:
        images: uint8 (N, C, H, W), all of the site's images, memory-mapped.
        labels: float32 (N, K), NaN where unknown.
        rows: int64 (n,), the rows that belong to this part.
        patients: for each patient of this part, its rows.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    rows: NDArray[np.int64]
    patients: tuple[NDArray[np.int64], ...]

    @staticmethod
    def load(site: Site, experiment: Experiment, part: Part) -> Cohort:
        """Read the site's table, decode its images (or map the cache), and keep one part."""
        manifest = site.manifest(experiment)
        rows = site.rows_of(manifest, part)
        images = decoded_images(manifest, experiment.data, site.folder / "cache")
        by_patient = manifest.take(rows).rows_by_patient()
        patients = tuple(rows[own] for own in by_patient.values())
        return Cohort(images, manifest.labels, rows, patients)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Copy rows out: images uint8 (B, C, H, W) and labels float32 (B, K)."""
        return torch.from_numpy(self.images[rows]), torch.from_numpy(self.labels[rows])
