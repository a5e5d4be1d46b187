"""``fedrounds simulate``: the command line of one run, or of a sweep.

Imports little, so that a wrong setting fails at once; ``experiment.py`` does the work.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console

from common.compose import group_choices, load_settings, settings_from_plain
from common.config import Settings
from common.errors import CheckpointError, IncompleteRunError, SettingsError

HELP = """\
usage: fedrounds simulate [-m] [--resume RUN] [--json] [KEY=VALUE …]

Train one classifier over many hospitals on this machine. Without settings: the phantom hospitals,
patient-level privacy, ε = 8.

  KEY=VALUE      any setting, as Hydra writes it: privacy.epsilon=3, experiment=ham10000
  -m             sweep: several values a key (privacy.epsilon=1,3,8) make one run each
  --resume RUN   go on with an interrupted run in the folder RUN
  --json         print result.json at the end, and nothing else on standard output

groups
{groups}
often set
  seed rounds local_steps output_dir ledger_dir   data.root data.table data.classes
  privacy.epsilon privacy.delta privacy.max_grad_norm privacy.public_patients   engine.workers

exit codes: 0 done, 2 wrong settings or unusable input, 3 incomplete, 130 interrupted
"""


def help_text() -> str:
    groups = "\n".join(f"  {name:<12} {', '.join(c)}" for name, c in group_choices().items())
    return HELP.format(groups=groups + "\n")


@dataclass(frozen=True)
class Run:
    """A run about to start, or to go on."""

    settings: Settings
    output_dir: Path
    run_id: str
    resume: bool


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = list(arguments)
    as_json = _take_flag(words, "--json")
    console = Console(stderr=as_json, soft_wrap=True)
    if _take_flag(words, "-m", "--multirun"):
        from simulations.sweep import run_sweep

        return run_sweep(words, console, as_json)
    if words[:1] == ["--resume"]:
        if len(words) != 2:
            raise SettingsError("--resume takes the folder of one run, and no settings")
        run = resumed_run(Path(words[1]))
    else:
        run = new_run(load_settings(words))
    from simulations.experiment import simulate

    result = simulate(run, console)
    if as_json:
        print((run.output_dir / "result.json").read_text(encoding="utf-8"), end="")
    return IncompleteRunError.exit_code if result["rounds"] < run.settings.rounds else 0


def new_run(settings: Settings) -> Run:
    """Choose the output folder.

    Raises:
        SettingsError: where the folder holds anything already.
    """
    name = settings.output_dir or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{settings.experiment}"
    folder = Path(name).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "holds a run" if (folder / "config.yaml").exists() else "is not an empty folder"
        raise SettingsError(
            f"output_dir={name} {what} already; choose another, or go on with "
            f"fedrounds simulate --resume {name}"
        )
    return Run(replace(settings, output_dir=str(folder)), folder, uuid.uuid4().hex, resume=False)


def resumed_run(folder: Path) -> Run:
    """Read an interrupted run's own settings.

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
    return Run(settings_from_plain(values), folder.resolve(), run_id, resume=True)


def _take_flag(words: list[str], *names: str) -> bool:
    found = [word for word in words if word in names]
    for word in found:
        words.remove(word)
    return bool(found)
