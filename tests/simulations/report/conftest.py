"""The finished run, as a copy that a test may change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulations.report.run import FinishedRun


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def changed(run_folder: Path) -> Callable[..., FinishedRun]:
    """The finished run, read again after ``result.json`` or ``rounds.jsonl`` was changed."""

    def read(
        result: Callable[[dict[str, Any]], None] = lambda _: None,
        rounds: Callable[[list[dict[str, Any]]], None] = lambda _: None,
    ) -> FinishedRun:
        facts = json.loads((run_folder / "result.json").read_text())
        lines = [json.loads(x) for x in (run_folder / "rounds.jsonl").read_text().splitlines()]
        result(facts)
        rounds(lines)
        (run_folder / "result.json").write_text(json.dumps(facts))
        (run_folder / "rounds.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        return FinishedRun.read(run_folder)

    return read
