"""``fedrounds export``: a model as one ONNX file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from client.inference.words import sort_words
from common.errors import SettingsError
from common.extras import require_extra

USAGE = "export MODEL [--output FILE] [--json]"
HELP = f"""\
usage: fedrounds {USAGE}

Writes a trained model as ONNX, for programs that have no PyTorch. Needs the extra 'export'.

  MODEL          a folder with model.json, as a run's; or a file, as RUN/model-northfield.json
  --output FILE  where to write; by default model.onnx beside model.json
  --json         print what was written as JSON, and nothing else on standard output

The graph takes 'images', uint8 (N, channels, size, size), and gives 'logits' and 'probabilities'.
Normalisation is in it; the labels, and how a file becomes such an image, are in its metadata. It is
run in onnxruntime on 100 images first, and written only if it says what PyTorch says.

exit codes: 0 done, 2 wrong words, a missing package, or a model that is refused
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = sort_words(arguments, USAGE, flags=("--json",), options=("--output",))
    if len(words.places) != 1 or words.settings:
        raise SettingsError(f"expected '{USAGE}', got {' '.join(arguments) or 'nothing'}")
    (model,) = words.places
    stem = model.with_suffix("") if model.suffix == ".json" else model / "model"
    output = Path(words.options.get("--output", f"{stem}.onnx"))
    if output.suffix != ".onnx":
        raise SettingsError(f"--output {output}: expected a name that ends in .onnx")
    require_extra("export", "export", "onnx", "onnxruntime", "onnxscript")

    # PyTorch is slow to import: wrong words have failed before.
    from client.inference.export import CHECKED, export
    from client.inference.trained import TrainedModel

    written = export(TrainedModel.open_for_images(model), output)
    if "--json" in words.flags:
        print(json.dumps(asdict(written), indent=1))
    else:
        print(
            f"{written.path}: {written.size / 1e6:.2f} MB; {written.milliseconds:.2f} ms an image "
            f"on one core; differs from PyTorch by at most {written.largest_difference:.1e} in a "
            f"probability, on {CHECKED} images"
        )
    return 0
