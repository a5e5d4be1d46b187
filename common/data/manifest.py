"""The manifest: a row an image, with its file, patient, labels and metadata.

Every source of data ends here, and everything that trains or evaluates starts here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Manifest:
    """One site's images, in the table's order.

    Attributes:
        root: folder that every path in ``files`` stands under.
        files: n paths, relative to ``root``.
        patients: n ids of the unit that privacy and the split are about; an image without a
            patient id has its own path as id.
        labels: float32 (n, K), 1 where the image has the class, 0 where not, NaN where unknown.
        classes: the K class names, in the experiment's public order.
        metadata: column name to n texts.
    """

    root: Path
    files: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.float32]
    classes: tuple[str, ...]
    metadata: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Manifest:
        """The manifest of some rows, in the order given."""
        index = [int(row) for row in rows]
        return Manifest(
            root=self.root,
            files=tuple(self.files[i] for i in index),
            patients=tuple(self.patients[i] for i in index),
            labels=self.labels[index],
            classes=self.classes,
            metadata={k: tuple(v[i] for i in index) for k, v in self.metadata.items()},
        )

    def rows_by_patient(self) -> dict[str, NDArray[np.int64]]:
        """Each patient's rows, patients in the order of their ids (not of the table)."""
        rows: dict[str, list[int]] = {}
        for row, patient in enumerate(self.patients):
            rows.setdefault(patient, []).append(row)
        return {patient: np.array(rows[patient], dtype=np.int64) for patient in sorted(rows)}

    def classes_present(self) -> list[str]:
        """Classes with at least one image, in order."""
        return [c for k, c in enumerate(self.classes) if np.nansum(self.labels[:, k]) > 0]
