"""All images of a site, decoded, and which of them nobody may train or be tested on.

What is left out is left out by a rule on one image, or on one patient's images, alone: an image
that cannot be read or shows text, and what repeats an image of the same patient. So a patient's
presence changes nobody else's part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.cache import decoded_images
from client.gate.listing import refused_of
from client.gate.notes import duplicates_text, note, refusals_text
from client.site import Site
from common.config import Experiment
from common.data.decoding.process import Refusal
from common.data.duplicates import Duplicates, once
from common.data.manifest import Manifest
from common.data.metadata import encode, group_of
from common.data.split import Part

DIGEST_BYTES = 16


@dataclass(frozen=True)
class SiteImages:
    """The images of a site.

    Attributes:
        site: whose they are.
        manifest: N images.
        pixels: uint8 (N, C, H, W), memory-mapped; zero where an image cannot be read.
        metadata: float32 (N, M), as the model takes them.
        groups: column of metadata to int64 (N,), the group that each image is evaluated in.
        unreadable: the rows that cannot be read or are refused, and why.
        headless: files that are in no manifest, since their header cannot be read.
    """

    site: Site
    manifest: Manifest
    pixels: NDArray[np.uint8]
    metadata: NDArray[np.float32]
    groups: Mapping[str, NDArray[np.int64]]
    unreadable: dict[int, Refusal]
    headless: tuple[Refusal, ...]

    @staticmethod
    def load(site: Site, experiment: Experiment) -> SiteImages:
        """Read the site's table and decode its images, or map the cache.

        The site's own log names what is refused.

        Raises:
            DataError: where the table, a label or an id cannot be used.
        """
        manifest = site.manifest(experiment)
        unreadable: dict[int, Refusal] = {}
        pixels = decoded_images(
            manifest,
            experiment.data,
            site.folder / "cache",
            rendering=site.rendering,
            refusals=unreadable,
        )
        headless = tuple(refused_of(site.settings.data))
        text = refusals_text(manifest.root, [*unreadable.values(), *headless])
        note(site.folder, "refused", text)
        metadata = encode(manifest.metadata, experiment.model.metadata, len(manifest))
        groups = {
            column: group_of(manifest.metadata[column], grouping)
            for column, grouping in experiment.evaluation.subgroups.items()
            if column in manifest.metadata
        }
        return SiteImages(site, manifest, pixels, metadata, groups, unreadable, headless)

    def patients(self, part: Part | None) -> tuple[NDArray[np.int64], ...]:
        """For each patient of a part (of all parts) who has an image left, its rows."""
        everyone = np.arange(len(self.manifest))
        asked = everyone if part is None else self.site.rows_of(self.manifest, part)
        rows = np.setdiff1d(asked, sorted(self.unreadable))
        by_patient = self.manifest.take(rows).rows_by_patient()
        return tuple(self._once(rows[own]) for own in by_patient.values())

    def duplicates(self) -> Duplicates:
        """Images of all parts that are equal as the model sees them."""
        digests = [
            None if row in self.unreadable else _digest(image)
            for row, image in enumerate(self.pixels)
        ]
        return Duplicates.of(digests, self.manifest, self.site.parts_of(self.manifest))

    def note_duplicates(self) -> None:
        """Say in the site's own log which of its images are equal."""
        size, unit = self.pixels.shape[-1], self.site.own_unit
        text = duplicates_text(self.manifest, self.duplicates(), size, unit)
        note(self.site.folder, "duplicates", text)

    def _once(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(rows) == 1:
            return rows
        files = [self.manifest.files[row] for row in rows]
        return once(rows, files, [_digest(self.pixels[row]) for row in rows])


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()
