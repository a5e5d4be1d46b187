"""``fedrounds predict``: what a model says of images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from client.inference.images import images_from
from client.inference.words import sort_words
from common.checkpoint import write_bytes
from common.errors import SettingsError

USAGE = "predict MODEL IMAGE… [--json|--csv] [--output FILE] [KEY=VALUE …]"
HELP = f"""\
usage: fedrounds {USAGE}

Scores images with a trained model. Nothing leaves this machine.

  MODEL          a folder with model.json, as a run's; or a file, as RUN/model-northfield.json
  IMAGE          a DICOM, PNG, JPEG, BMP or TIFF file, or a folder of them
  --json, --csv  print JSON or CSV, and nothing else on standard output; without, a table
  --output FILE  write to a file instead, as its name ends: .json or .csv
  KEY=VALUE      how files are shown, where the training sites say it: data.intensity,
                 data.intensity_bounds, data.frames, data.view

An image is prepared as model.json says. Probabilities are the model's own, and are only as good as
its evaluation on images like these ('fedrounds evaluate').

exit codes: 0 done, 1 an image could not be read (the others are scored, and it says why), 2 wrong
words, or a model that is refused
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = sort_words(arguments, USAGE, flags=("--json", "--csv"), options=("--output",))
    if len(words.places) < 2 or len(words.flags) > 1:
        raise SettingsError(f"expected '{USAGE}', got {' '.join(arguments) or 'nothing'}")
    output = words.options.get("--output")
    suffix = Path(output).suffix if output else f".{''.join(words.flags).strip('-')}"
    if output and (words.flags or suffix not in (".json", ".csv")):
        raise SettingsError(f"--output {output}: expected a name that ends in .json or .csv")
    paths, rendering = images_from(words.places[1:], words.settings)

    # PyTorch is slow to import: wrong words have failed before.
    from client.inference.predict import as_csv, as_table, as_values, predict
    from client.inference.trained import TrainedModel

    trained = TrainedModel.open_for_images(words.places[0])
    predictions = list(predict(trained, paths, rendering))
    if suffix == ".json":
        text = json.dumps(as_values(trained, predictions), indent=1) + "\n"
    else:
        text = as_csv(trained, predictions)
    if output:
        write_bytes(Path(output), text.encode())
    elif words.flags:
        print(text, end="")
    else:
        console = Console()
        table = as_table(trained, predictions)
        (console if console.is_terminal else Console(width=160)).print(table)
    refused = [one for one in predictions if one.refused]
    for one in refused:
        print(f"not read: {one.file}: {one.refused}", file=sys.stderr)
    return 1 if refused else 0
