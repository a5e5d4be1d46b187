"""Shared fixtures: small experiments, small phantom hospitals, and where real images are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from client.init import init_ledger
from client.site import Site
from common.checks import parse_experiment
from common.compose import load_settings
from common.config import Experiment, Settings
from common.data.split import part_of
from common.schema import to_plain
from simulations.hospitals import HOSPITALS, write_hospitals
from simulations.sites import Cohorts, prepare_cohorts, write_site_folders

PROJECT = Path(__file__).resolve().parent.parent
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
"""Tiny images of two classes, for one site's handlers."""

FAST = [
    "rounds=2",
    "local_steps=2",
    "model.width=8",
    "strategy.batch_size=16",
    "data.image_size=32",
]


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom hospitals of 60 and 40 patients, as DICOM."""
    root = tmp_path_factory.mktemp("hospitals")
    small = (replace(HOSPITALS[0], patients=60), replace(HOSPITALS[2], patients=40))
    write_hospitals(root, 0, small)
    return root


@pytest.fixture
def settings(hospitals: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Fast settings over the two small hospitals, with further overrides."""

    def make(*overrides: str) -> Settings:
        base = [
            f"data.root={hospitals}",
            "privacy.public_patients=42",
            f"output_dir={tmp_path / 'run'}",
            "privacy=none",
            "engine.workers=1",
        ]
        given = {o.split("=", 1)[0] for o in overrides}
        kept = [o for o in [*base, *FAST] if o.split("=", 1)[0] not in given]
        return load_settings([*kept, *overrides])

    return make


@pytest.fixture
def cohorts(settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Cohorts]:
    """Prepared cohorts for :func:`settings`."""

    def make(*overrides: str) -> Cohorts:
        return prepare_cohorts(settings(*overrides), tmp_path)

    return make


@pytest.fixture
def site_folders(
    cohorts: Callable[..., Cohorts], tmp_path: Path
) -> Callable[..., tuple[Cohorts, list[Path]]]:
    """Prepared cohorts, and a written folder for each site."""

    def make(*overrides: str) -> tuple[Cohorts, list[Path]]:
        prepared = cohorts(*overrides)
        return prepared, write_site_folders(prepared, tmp_path / "sites")

    return make


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of real data sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FEDROUNDS_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set FEDROUNDS_DATA")
    return folder


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


def changed(site: Site, **groups: dict[str, object]) -> Site:
    """The site with other settings in its ``site.yaml``."""
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text())
    for group, settings in groups.items():
        values[group] |= settings
    path.write_text(yaml.safe_dump(values))
    return Site.open(site.folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, check=False).returncode:
        pytest.skip("mounting a small file system needs root and Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
