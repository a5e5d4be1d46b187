"""A cell is run once: read where it has ended, continued where it was cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from common.config import Settings
from common.errors import SettingsError
from simulations import cells
from simulations.cells import run_cell

QUIET = Console(quiet=True)


def test_a_cell_that_has_ended_is_read_and_not_run_again(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_cell(tmp_path / "cell", settings("rounds=1"), QUIET)
    monkeypatch.setattr(cells, "simulate", lambda *_: pytest.fail("ran again"))
    assert run_cell(tmp_path / "cell", settings("rounds=1"), QUIET) == first


def test_a_cell_that_was_cut_off_goes_on_with_its_own_run(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    first = run_cell(tmp_path / "cell", settings("rounds=1"), QUIET)
    (tmp_path / "cell" / "result.json").unlink()
    again = run_cell(tmp_path / "cell", settings("rounds=1"), QUIET)
    assert again["run_id"] == first["run_id"]
    assert again["metrics"] == first["metrics"]


@pytest.mark.parametrize("other", [["rounds=2"], ["rounds=1", "strategy.learning_rate=0.1"]])
def test_a_folder_with_a_run_of_other_settings_is_refused(
    settings: Callable[..., Settings], tmp_path: Path, other: list[str]
) -> None:
    run_cell(tmp_path / "cell", settings("rounds=1"), QUIET)
    with pytest.raises(SettingsError, match=f"other settings \\({other[-1].split('.')[0][:5]}"):
        run_cell(tmp_path / "cell", settings(*other), QUIET)
