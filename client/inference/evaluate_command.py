"""``fedrounds evaluate``: how good a model is on a folder of labelled images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from client.inference.words import sort_words
from common.data.split import PARTS
from common.errors import SettingsError
from common.metrics.group_text import group_tables
from common.metrics.text import bin_error_text, class_table, overall_rows, point_parts
from common.schema import suggest

USAGE = "evaluate MODEL DATA [--part PART] [--json] [KEY=VALUE …]"
HELP = f"""\
usage: fedrounds {USAGE}

Scores a folder of labelled images with a trained model. Nothing leaves this machine.

  MODEL        a folder with model.json, as a run's; or a file, as RUN/model-northfield.json
  DATA         a site's folder (with site.yaml), or any folder of images
  --part PART  train, validation or test, as the folder's own split has it; without, every image:
               right for patients on whom the model was not trained
  --json       print the figures as JSON, and nothing else on standard output
  KEY=VALUE    for a folder without site.yaml, how it is laid out: data=ham10000, or
               data.label_column=dx data.patient_column=lesion_id …; without, it is guessed

Images are prepared as model.json says. Labels have to be the model's own: another list, or a label
that is not in it, is refused. The figures are exact, covered by no ε: they are for whoever has the
images.

exit codes: 0 done, 2 wrong words, or a model, labels or images that are refused
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = sort_words(arguments, USAGE, flags=("--json",), options=("--part",))
    if len(words.places) != 2:
        raise SettingsError(f"expected '{USAGE}', got {' '.join(arguments) or 'nothing'}")
    model, folder = words.places
    if not folder.is_dir():
        raise SettingsError(f"{folder}: expected a site's folder or a folder of images")
    named = words.options.get("--part")
    part = next((part for part in PARTS if part == named), None)
    if named is not None and part is None:
        raise SettingsError(f"--part {named}: unknown part{suggest(named, PARTS)}")

    # PyTorch is slow to import: wrong words have failed before.
    from client.inference.evaluate import evaluate_folder
    from client.inference.trained import TrainedModel

    found = evaluate_folder(TrainedModel.open(model), folder.resolve(), words.settings, part)
    if "--json" in words.flags:
        print(json.dumps(found, indent=1))
    else:
        console = Console()
        _print(console if console.is_terminal else Console(width=120), found)
    return 0


def _print(console: Console, found: Mapping[str, Any]) -> None:
    model = found["model"]
    console.print(
        f"{model['name']} of {model['experiment']} (run {model['run_id'][:12]}); "
        f"images: {found['images']}, {found['unit']}s: {found['units']}, part: {found['part']}",
        highlight=False,
        markup=False,
    )
    table = Table("figure", "value and 95% interval")
    for cells in overall_rows(found["metrics"]):
        table.add_row(*cells)
    console.print(table)
    console.print(class_table(found["metrics"]))
    for part in point_parts(found["metrics"]):
        console.print(part, highlight=False)
    console.print(bin_error_text(found["metrics"]), highlight=False)
    for name, column in found["metrics"]["subgroups"].items():
        for by_group in group_tables(name, column):
            console.print(by_group)
    for one in found["refused"]:
        console.print(f"not read: {one['file']}: {one['reason']}", highlight=False, markup=False)
