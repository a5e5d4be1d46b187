"""Shared fixtures: small experiments, small phantom hospitals, and where real images are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.compose import load_settings
from common.config import Settings
from simulations.hospitals import HOSPITALS, write_hospitals
from simulations.sites import Cohorts, prepare_cohorts, write_site_folders

PROJECT = Path(__file__).resolve().parent.parent
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
