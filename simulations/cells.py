"""A run that is one cell of a table of runs, kept in a folder of its own.

A cell that has ended is read, one that was cut off goes on, and one that is not there is begun. So
a table of many runs can be stopped at any moment, and a second call pays for what is missing alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from common.config import Settings
from common.errors import SettingsError
from common.schema import to_plain
from common.start import absolute, new_run, resumed_run
from simulations.experiment import simulate


def run_cell(folder: Path, settings: Settings, console: Console) -> dict[str, Any]:
    """Run one cell, or what is left of it.

    Args:
        folder: the cell's own; the run's ``output_dir``.
        settings: the run's, whatever ``output_dir`` they name.
        console: is told of the run.

    Returns:
        What ``result.json`` holds.

    Raises:
        SettingsError: where the folder holds a run of other settings.
        FedroundsError: as a run does.
    """
    if not (folder / "config.yaml").exists():
        return simulate(new_run(replace(settings, output_dir=str(folder))), console)
    _check_same(folder, settings)
    if (folder / "result.json").exists():
        result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return result
    return simulate(resumed_run(folder), console)


def _check_same(folder: Path, settings: Settings) -> None:
    """Raise where the settings of the run in ``folder`` differ from those that are wanted."""
    held = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    here = replace(absolute(settings), output_dir=held["output_dir"])
    wanted = yaml.safe_load(yaml.safe_dump(to_plain(here)))
    keys = sorted(held.keys() | wanted.keys())
    different = [key for key in keys if held.get(key) != wanted.get(key)]
    if different:
        raise SettingsError(
            f"{folder} holds a run of other settings ({', '.join(different)} differ); expected the "
            "same, or an empty folder: choose another output_dir, or delete it"
        )
