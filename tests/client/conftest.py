"""A site with one patient of ten images, as a real folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from client.init import init_ledger
from client.site import Site
from common.checks import parse_experiment
from common.config import Experiment
from common.data.split import part_of
from common.schema import to_plain

EXPERIMENT = """
name: test
seed: 0
rounds: 2
local_steps: 3
threads: 1
data: {classes: [a, b], multi_label: false, image_size: 16, channels: 1}
model: {name: cnn, width: 4}
strategy: {batch_size: 4}
privacy: {unit: patient, epsilon: 8, delta: 1e-3, max_grad_norm: 0.05}
"""


@pytest.fixture
def experiment() -> Experiment:
    return parse_experiment(EXPERIMENT)


def train_ids(count: int, prefix: str = "P") -> list[str]:
    """Ids that the split puts into the training part."""
    every = (f"{prefix}{i}" for i in range(10 * count))
    return [p for p in every if part_of("fedrounds", p, 0.2, 0.1) == "train"][:count]


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Site]:
    """A site folder: image counts a patient in, ``site.yaml`` and images out."""

    def make(
        images: dict[str, int], name: str = "clinic", public_patients: int = 8, **policy: object
    ) -> Site:
        data, folder = tmp_path / f"{name}-data", tmp_path / name
        data.mkdir()
        folder.mkdir()
        lines = ["file,label,patient"]
        for patient, count in images.items():
            rng = np.random.default_rng(sum(patient.encode()))
            base = rng.integers(0, 255, (16, 16)).astype(np.uint8)
            for i in range(count):
                Image.fromarray(base ^ np.uint8(i)).save(data / f"{patient}_{i}.png")
                lines.append(f"{patient}_{i}.png,{'ab'[sum(patient.encode()) % 2]},{patient}")
        (data / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings = {
            "name": name,
            "data": {
                "root": str(data),
                "image_column": "file",
                "label_column": "label",
                "patient_column": "patient",
            },
            "policy": {
                "public_patients": public_patients,
                "release_metrics": "exact",
                "min_count": 0,
                **policy,
            },
        }
        (folder / "site.yaml").write_text(yaml.safe_dump(to_plain(settings)), encoding="utf-8")
        init_ledger(Site.open(folder))
        return Site.open(folder)

    return make
