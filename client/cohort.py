"""One part of a site's patients, ready to train or evaluate on.

What is left out is left out by a rule on one image, or on one patient's images, alone: an image
that cannot be read or shows text, and what repeats an image of the same patient. So a patient's
presence changes nobody else's part.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.cache import decoded_images
from client.gate.listing import refused_of
from client.gate.notes import duplicates_text, note, refusals_text
from client.site import Site
from common.config import Experiment
from common.data.decoding.process import Refusal
from common.data.duplicates import Duplicates, once
from common.data.images import refused
from common.data.manifest import Manifest
from common.data.split import Part
from common.errors import DataError

DIGEST_BYTES = 16


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
        """Read the site's table, decode its images (or map the cache), and keep one part.

        Raises:
            DataError: where nothing can be read, or the policy refuses to train on contradictions.
        """
        images, manifest, left_out = _readable(site, experiment)
        if part == "train" and site.settings.policy.label_conflicts == "refuse":
            _refuse_conflicts(duplicates(site, images, manifest, left_out))
        rows = np.setdiff1d(site.rows_of(manifest, part), sorted(left_out))
        by_patient = manifest.take(rows).rows_by_patient()
        patients = tuple(_once(rows[own], images, manifest) for own in by_patient.values())
        kept = np.sort(np.concatenate([*patients, np.array([], dtype=np.int64)]))
        return Cohort(images, manifest.labels, kept, patients)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Copy rows out: images uint8 (B, C, H, W) and labels float32 (B, K)."""
        return torch.from_numpy(self.images[rows]), torch.from_numpy(self.labels[rows])


def note_duplicates(site: Site, experiment: Experiment) -> None:
    """Say in the site's own log which of its images are equal, in all its parts."""
    images, manifest, left_out = _readable(site, experiment)
    found = duplicates(site, images, manifest, left_out)
    text = duplicates_text(manifest, found, experiment.data.image_size, site.own_unit)
    note(site.folder, "duplicates", text)


def duplicates(
    site: Site, images: NDArray[np.uint8], manifest: Manifest, left_out: set[int]
) -> Duplicates:
    """Images that are equal as the model sees them."""
    digests = [None if row in left_out else _digest(image) for row, image in enumerate(images)]
    return Duplicates.of(digests, manifest, site.parts_of(manifest))


def _readable(site: Site, experiment: Experiment) -> tuple[NDArray[np.uint8], Manifest, set[int]]:
    """All images, their manifest, and the rows that cannot be read; these the site's log names."""
    manifest = site.manifest(experiment)
    refusals: dict[int, Refusal] = {}
    images = decoded_images(
        manifest,
        experiment.data,
        site.folder / "cache",
        rendering=site.rendering,
        refusals=refusals,
    )
    told = [*refusals.values(), *refused_of(site.settings.data)]
    note(site.folder, "refused", refusals_text(manifest.root, told))
    if len(refusals) == len(manifest):
        raise DataError(f"{refused(refusals[0])} (and so of all {len(manifest)} images)")
    return images, manifest, set(refusals)


def _once(
    rows: NDArray[np.int64], images: NDArray[np.uint8], manifest: Manifest
) -> NDArray[np.int64]:
    if len(rows) == 1:
        return rows
    files = [manifest.files[row] for row in rows]
    return once(rows, files, [_digest(images[row]) for row in rows])


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()


def _refuse_conflicts(found: Duplicates) -> None:
    if found.conflicts:
        raise DataError(
            f"policy.label_conflicts: refuse, and {len(found.conflicts)} groups of equal images "
            "have labels that contradict each other: 'fedrounds data' names them; correct the "
            "labels, or list images in data.exclude before the ledger begins"
        )
