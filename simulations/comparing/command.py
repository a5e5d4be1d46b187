"""``fedrounds compare``: finished runs beside each other, paired by patient."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from common.errors import SettingsError
from common.schema import suggest
from simulations.run import make_console

FLAGS = ("--json", "--markdown")
HELP = """\
usage: fedrounds compare RUN RUN [RUN …] [--json | --markdown]

Compares finished runs over the same test patients. Runs that differ in their seed alone are one
method; the first run's method is the baseline. The differences of the others have intervals from a
bootstrap that is paired by patient; the spread over seeds is shown apart from them.

  RUN         a run's output_dir, a simulation's or a server's; of a validation design, one of its
              runs, as RUN/arms/federation
  --json      print the comparison as JSON, and nothing else
  --markdown  print it as Markdown

Runs of other classes, sites, test patients or bootstrap draws are refused, with what differs.

exit codes: 0 done, 2 wrong words, or runs that cannot be compared
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    flags = [word for word in arguments if word.startswith("--")]
    folders = [Path(word) for word in arguments if not word.startswith("--")]
    for flag in flags:
        if flag not in FLAGS:
            raise SettingsError(f"unknown word '{flag}'{suggest(flag, FLAGS)}")
    if len(folders) < 2 or len(flags) > 1:
        raise SettingsError("expected two folders of finished runs or more, and one flag at most")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise SettingsError("expected different runs: one folder is given twice")

    # PyTorch is slow to import: wrong words have failed before.
    from simulations.comparing.figures import compare
    from simulations.comparing.runs import ComparedRun, check_comparable
    from simulations.comparing.text import tables

    runs = [ComparedRun.read(folder) for folder in folders]
    check_comparable(runs)
    comparison = compare(runs)
    if "--json" in flags:
        print(json.dumps(comparison, indent=1, allow_nan=False))
    elif "--markdown" in flags:
        print("\n".join(table.markdown() for table in tables(comparison)), end="")
    else:
        console = make_console(stderr=False)
        for table in tables(comparison):
            console.print(table.rich())
    return 0
