"""One finished run, for every test that only reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedrounds
from tests.conftest import FAST


@pytest.fixture(scope="session")
def finished_run(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a private run over the two small hospitals; nobody writes into it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    words = [f"data.root={hospitals}", f"output_dir={folder}", "engine.workers=1"]
    words += ["privacy.public_patients=42", "privacy.epsilon_max=9"]
    assert fedrounds.main(["simulate", *FAST, *words]) == 0
    return folder
