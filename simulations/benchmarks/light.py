"""What a model costs, beside what it can: parameters, bytes, milliseconds and AUROC, one table.

    python -m simulations.benchmarks.light output_dir=runs/light [KEY=VALUE …]

Each model trains on the phantom hospitals without privacy for equal steps with equal settings:
nothing is tuned for any of them. Bytes are those of the messages of one round to and from one site,
packed as a deployed server sends them. Milliseconds are processor time of one image on one core,
by PyTorch, at the experiment's image size. Further words are settings as of ``fedrounds simulate``.

Each cell is a whole run in ``output_dir/MODEL-SEED``: one that has ended is read, one that was cut
off goes on. ``light.md`` and ``light.json`` are the table of those that there are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from common.checkpoint import read_json, write_bytes, write_json
from common.compose import load_settings
from common.config import Experiment, Settings, TaskSettings
from common.data.transforms import normalise
from common.messages import TrainAnswer, TrainRequest
from common.metrics.text import figure_text
from common.model_file import read_model_file
from common.models.classifier import Classifier
from common.packing import pack
from common.parameters import Arrays, arrays_of, trained_names
from common.schema import narrow
from common.wire import to_bytes
from simulations.benchmarks.command import cells_folder, run
from simulations.benchmarks.timing import Timing, machine, measure
from simulations.cells import run_cell
from simulations.hospitals import kept_hospitals
from simulations.markdown import markdown_table

STEMS = {
    "cnn": "small",
    "wsnet": "small",
    "scatter": "small",
    "mobilenet": "small",
    "resnet18": "imagenet",
    "densenet121": "imagenet",
}
"""The models, each with the stem with which it trains in minutes."""
BASE = (
    "experiment=phantom",
    "privacy=none",
    "evaluate_every=1000",
    "rounds=20",
    "strategy.batch_size=16",
    "strategy.learning_rate=1e-3",
)
REPEATS = 50


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    console = Console(soft_wrap=True)
    rows: list[dict[str, Any]] = []
    for name, stem in STEMS.items():
        words = [*BASE, f"model={name}", f"model.stem={stem}", *overrides]
        root = kept_hospitals(folder, load_settings(words).seed)
        settings = load_settings([*words, f"data.root={root}"])
        output = folder / f"{name}-{settings.seed}"
        result = run_cell(output, settings, console)
        rows.append(row(settings, result, _cost(output, settings)))
        write_json(folder / "light.json", {"schema": 1, "machine": machine(), "rows": rows})
        write_bytes(folder / "light.md", table(rows).encode())


def row(settings: Settings, result: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, Any]:
    model = settings.model
    return {
        "model": f"{model.name}, width {model.width}, {model.stem} stem",
        "seed": result["seed"],
        "parameters": result["model"]["parameters"],
        **cost,
        "auroc_macro": result["metrics"]["auroc_macro"],
        "rounds": result["rounds"],
        "seconds": result["seconds"]["total"],
        "versions": result["versions"],
    }


def _cost(output: Path, settings: Settings) -> dict[str, Any]:
    """What :func:`wire_bytes` and :func:`milliseconds` find, kept beside the run."""
    path = output / "cost.json"
    if not path.exists():
        file, model = read_model_file(output)
        experiment = settings.shared(narrow(TaskSettings, file))
        seconds = milliseconds(model, experiment)
        sizes = wire_bytes(experiment, arrays_of(model), trained_names(model))
        write_json(path, {"bytes": sizes, "milliseconds": asdict(seconds), "machine": machine()})
    return read_json(path)


def wire_bytes(experiment: Experiment, arrays: Arrays, trained: frozenset[str]) -> dict[str, int]:
    """Bytes of the two messages with which one site trains for one round."""
    back = {name: value for name, value in arrays.items() if name in trained}
    request = TrainRequest("0" * 32, 1, experiment, arrays)
    answer = TrainAnswer("northfield", "0" * 32, 1, back, 1.0)
    return {
        "down": len(to_bytes(pack(request.pack()))),
        "up": len(to_bytes(pack(answer.pack()))),
    }


def milliseconds(model: Classifier, experiment: Experiment) -> Timing:
    """Processor time of one image on one core."""
    task = experiment.data
    levels = torch.randint(
        0, 256, (1, task.channels, task.image_size, task.image_size),
        generator=torch.Generator().manual_seed(0), dtype=torch.uint8,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            measure("warm-up", lambda _: model(normalise(levels)).shape, 5)
            return measure(
                "one image", lambda _: model(normalise(levels)).shape, REPEATS, time.process_time
            )
    finally:
        torch.set_num_threads(threads)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    heading = [
        "Model", "Parameters", "Bytes down", "Bytes up", "ms an image (least to most)",
        "Macro AUROC, pooled test", "Seed", "Seconds",
    ]  # fmt: skip
    lines = []
    for cell in rows:
        ms = {key: 1000 * cell["milliseconds"][key] for key in ("median", "least", "most")}
        words = (
            cell["model"],
            f"{cell['parameters']:,}",
            f"{cell['bytes']['down']:,}",
            f"{cell['bytes']['up']:,}",
            f"{ms['median']:.2f} ({ms['least']:.2f} to {ms['most']:.2f})",
            figure_text(cell["auroc_macro"]),
            str(cell["seed"]),
            f"{cell['seconds']:.0f}",
        )
        lines.append(words)
    return markdown_table(heading, lines)


if __name__ == "__main__":
    run(main)
