"""The command over the small hospitals, and one finished run for tests that only read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedrounds
from tests.conftest import FAST

BASE = [*FAST, "engine.workers=1", "privacy.public_patients=42"]


@pytest.fixture
def simulate(hospitals: Path, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Run the command over the small hospitals; returns exit code and output folder."""

    def run(*words: str, name: str = "run") -> tuple[int, Path]:
        output = tmp_path / name
        given = {w.split("=", 1)[0] for w in words}
        base = [*BASE, f"data.root={hospitals}", f"output_dir={output}"]
        kept = [w for w in base if w.split("=", 1)[0] not in given]
        return fedrounds.main(["simulate", *kept, *words]), output

    return run


def result_of(output: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((output / "result.json").read_text())
    return result


@pytest.fixture(scope="session")
def finished_run(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a private run over the two small hospitals; nobody writes into it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    words = [f"data.root={hospitals}", f"output_dir={folder}", "engine.workers=1"]
    words += ["privacy.public_patients=42", "privacy.epsilon_max=9"]
    words += ["privacy.subgroups=[sex,age]"]
    assert fedrounds.main(["simulate", *FAST, *words]) == 0
    return folder
