"""``fedrounds simulate``: the command line of one run, or of a sweep.

Imports little, so that a wrong setting fails at once; ``experiment.py`` does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from common.compose import group_choices, load_settings
from common.errors import SettingsError
from common.start import new_run, resumed_run
from simulations.warm import warm_up

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


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = list(arguments)
    as_json = _take_flag(words, "--json")
    console = make_console(as_json)
    if _take_flag(words, "-m", "--multirun"):
        from simulations.sweep import run_sweep

        return run_sweep(words, console, as_json)
    if words[:1] == ["--resume"]:
        if len(words) != 2:
            raise SettingsError("--resume takes the folder of one run, and no settings")
        run = resumed_run(Path(words[1]))
    else:
        run = new_run(load_settings(words))
    warm_up(run.settings)  # beside the imports below, which take seconds as well
    from server.results import check_complete
    from simulations.designs.run import run_as_designed

    result = run_as_designed(run, console)
    if as_json:
        print((run.output_dir / "result.json").read_text(encoding="utf-8"), end="")
    check_complete(result["incomplete"])
    return 0


def make_console(stderr: bool) -> Console:
    """Where a run is told: standard error where standard output must be JSON alone."""
    console = Console(stderr=stderr, soft_wrap=True)
    return console if console.is_terminal else Console(stderr=stderr, soft_wrap=True, width=160)


def _take_flag(words: list[str], *names: str) -> bool:
    found = [word for word in words if word in names]
    for word in found:
        words.remove(word)
    return bool(found)
