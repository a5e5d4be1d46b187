"""A run about to start, or to go on: its settings, its folder, its id."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from common.compose import settings_from_plain
from common.config import Settings
from common.errors import CheckpointError, SettingsError


@dataclass(frozen=True)
class Run:
    """A run about to start, or to go on."""

    settings: Settings
    output_dir: Path
    run_id: str
    resume: bool


def new_run(settings: Settings, go_on: str = "fedrounds simulate --resume") -> Run:
    """Choose the output folder.

    Args:
        settings: the run's; its paths are made absolute.
        go_on: the words that go on with a run, for the message.

    Raises:
        SettingsError: where the folder holds anything already.
    """
    name = settings.output_dir or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{settings.experiment}"
    folder = Path(name).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "holds a run" if (folder / "config.yaml").exists() else "is not an empty folder"
        raise SettingsError(
            f"output_dir={name} {what} already; choose another, or go on with {go_on} {name}"
        )
    settings = replace(absolute(settings), output_dir=str(folder))
    return Run(settings, folder, uuid.uuid4().hex, resume=False)


def absolute(settings: Settings) -> Settings:
    """A run may go on from another directory; what it reads must be the same there."""

    def whole(path: str | None) -> str | None:
        return None if path is None else str(Path(path).resolve())

    return replace(
        settings,
        ledger_dir=whole(settings.ledger_dir),
        data=replace(settings.data, root=whole(settings.data.root)),
        model=replace(settings.model, pretrained=whole(settings.model.pretrained)),
    )


def resumed_run(folder: Path, *, has_data: bool = True) -> Run:
    """Read an interrupted run's own settings.

    Args:
        folder: the run's output folder.
        has_data: whether the run's data lie on this machine; a server's do not.

    Raises:
        CheckpointError: where the folder holds no run that could go on.
    """
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        run_id = json.loads((folder / "run.json").read_text(encoding="utf-8"))["run_id"]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: expected a run's folder, with config.yaml and run.json"
        ) from error
    if (folder / "result.json").exists():
        raise CheckpointError(f"{folder}: this run has ended; its result.json is there")
    return Run(
        settings_from_plain(values, has_data=has_data), folder.resolve(), run_id, resume=True
    )
