"""``fedrounds explain``: where in an image a model's answer comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.inference.images import images_from
from client.inference.words import sort_words
from common.data.records import OVERLAY_SUFFIX
from common.errors import SettingsError
from common.schema import suggest

if TYPE_CHECKING:
    from client.inference.explain import Explained

USAGE = "explain MODEL IMAGE… [--method METHOD] [--class CLASS] [--output FOLDER] [--json]"
HELP = f"""\
usage: fedrounds {USAGE}

Shows where in an image a model's answer comes from: a PNG beside each image. Nothing leaves this
machine.

  MODEL            a folder with model.json, as a run's; or a file, as RUN/model-northfield.json
  IMAGE            a DICOM, PNG, JPEG, BMP or TIFF file, or a folder of them
  --method METHOD  evidence: what the model adds up, exactly (model.head=evidence alone);
                   gradcam, integrated_gradients: estimates, which need the extra 'explain';
                   without, all that the model has
  --class CLASS    the class to explain; without, each image's most likely one
  --output FOLDER  where the PNGs go; without, beside each image, as scan.dcm{OVERLAY_SUFFIX}
  --json           print what was found as JSON, and nothing else on standard output
  KEY=VALUE        how files are shown, as for 'fedrounds predict'

Deletion is the area under the class's probability as the map's highest pixels become grey: low is
good. Insertion is that as they come back into a blurred image: high is good (Petsiuk et al. 2018).
A map says what the model uses, not what is ill.

exit codes: 0 done, 1 an image could not be read (the others are explained, and it says why),
2 wrong words, a missing package, or a model that is refused
"""

NORMALISED = (
    "note: this model normalises over the whole image, and the maps of such models pointed at the "
    "lesion hardly ever where that was measured; those of model=wsnet did (docs/figures.md)"
)


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = sort_words(
        arguments, USAGE, flags=("--json",), options=("--method", "--class", "--output")
    )
    if len(words.places) < 2:
        raise SettingsError(f"expected '{USAGE}', got {' '.join(arguments) or 'nothing'}")
    paths, rendering = images_from(words.places[1:], words.settings)
    pictures = _pictures(paths, words.options.get("--output"))

    # PyTorch is slow to import: wrong words have failed before.
    from client.inference.explain import explain
    from client.inference.trained import TrainedModel
    from common.explain import choose_methods
    from common.models import normalisation_names

    trained = TrainedModel.open_for_images(words.places[0])
    methods = choose_methods(words.options.get("--method"), trained.model)
    class_name = words.options.get("--class")
    if class_name is not None and class_name not in trained.classes:
        raise SettingsError(f"--class {class_name}: unknown{suggest(class_name, trained.classes)}")
    found = list(explain(trained, pictures, methods, class_name, rendering))
    if "--json" in words.flags:
        print(json.dumps({"schema": 1, "images": [asdict(one) for one in found]}, indent=1))
    else:
        _print(found)
        if normalisation_names(trained.model):
            print(NORMALISED)
    refused = [one for one in found if one.refused]
    for one in refused:
        print(f"not read: {one.file}: {one.refused}", file=sys.stderr)
    return 1 if refused else 0


def _pictures(images: Sequence[Path], output: str | None) -> dict[Path, Path]:
    """Where each image's picture goes.

    Raises:
        SettingsError: where two would have the same name.
    """
    folder = None if output is None else Path(output)
    pictures = {path: (folder or path.parent) / f"{path.name}{OVERLAY_SUFFIX}" for path in images}
    if len(set(pictures.values())) < len(pictures):
        raise SettingsError(
            f"--output {output}: several images have the same name; give them in several commands, "
            "or leave --output out"
        )
    return pictures


def _print(found: Sequence[Explained]) -> None:
    table = Table("image", "class", "probability", "method", "deletion", "insertion")
    for one in found:
        for name, worth in (one.faithfulness or {}).items():
            table.add_row(
                escape(one.file), escape(one.class_name), f"{one.probability:.3f}", name,
                f"{worth.deletion:.3f}", f"{worth.insertion:.3f}",
            )  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    for one in found:
        if one.overlay:
            print(f"written: {one.overlay}")
