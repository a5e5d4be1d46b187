"""One part of a site's patients, ready to train or evaluate on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.site import Site
from client.site_images import SiteImages
from common.config import Experiment
from common.data.images import refused
from common.data.split import Part
from common.errors import DataError
from common.models import Inputs


@dataclass(frozen=True)
class Cohort:
    """The decoded images of a part, indexed by image and by patient.

    Attributes:
        images: uint8 (N, C, H, W), all of the site's images, memory-mapped.
        labels: float32 (N, K), NaN where unknown.
        rows: int64 (n,), the rows that belong to this part.
        patients: for each patient of this part, its rows.
        metadata: float32 (N, M); ``None`` is as M = 0.
        groups: column of metadata to int64 (N,), the group of each image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    rows: NDArray[np.int64]
    patients: tuple[NDArray[np.int64], ...]
    metadata: NDArray[np.float32] | None = None
    groups: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @staticmethod
    def load(site: Site, experiment: Experiment, part: Part) -> Cohort:
        """Read the site's table, decode its images (or map the cache), and keep one part.

        Raises:
            DataError: where nothing can be read, or the policy refuses to train on contradictions.
        """
        return Cohort.of(SiteImages.load(site, experiment), part)

    @staticmethod
    def of(images: SiteImages, part: Part | None) -> Cohort:
        """One part of images that are loaded, or all of them; raises as :meth:`load`."""
        if len(images.unreadable) == len(images.manifest):
            first = refused(images.unreadable[0])
            raise DataError(f"{first} (and so of all {len(images.manifest)} images)")
        if part == "train" and images.site.settings.policy.label_conflicts == "refuse":
            _refuse_conflicts(images)
        patients = images.patients(part)
        rows = np.sort(np.concatenate([*patients, np.array([], dtype=np.int64)]))
        labels = images.manifest.labels
        return Cohort(images.pixels, labels, rows, patients, images.metadata, images.groups)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Copy rows out: images uint8 (B, C, H, W) and labels float32 (B, K)."""
        return torch.from_numpy(self.images[rows]), torch.from_numpy(self.labels[rows])

    def inputs(self, images: Tensor, rows: NDArray[np.int64]) -> Inputs:
        """What a model is called with, channels last, all on the device of the images.

        Args:
            images: normalised, float32 (B, C, H, W).
            rows: int64 (B,), which they are.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        if self.metadata is None or self.metadata.shape[1] == 0:
            return (images,)
        return images, torch.from_numpy(self.metadata[rows]).to(images.device)


def _refuse_conflicts(images: SiteImages) -> None:
    conflicts = images.duplicates().conflicts
    if conflicts:
        raise DataError(
            f"policy.label_conflicts: refuse, and {len(conflicts)} groups of equal images "
            "have labels that contradict each other: 'fedrounds data' names them; correct the "
            "labels, or list images in data.exclude before the ledger begins"
        )
