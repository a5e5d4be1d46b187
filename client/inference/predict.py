"""What a model says of images, as values, CSV or a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from client.inference.trained import TrainedModel
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering

SCHEMA = 1
SHOWN = 3
"""Most likely classes that the table shows; JSON and CSV have all."""


@dataclass(frozen=True)
class Prediction:
    """What is said of one image, or why it cannot be read."""

    file: str
    predicted: tuple[str, ...]
    probabilities: tuple[float, ...]
    """One a class, in the model's order; none where the image cannot be read."""
    refused: str | None = None


def predict(
    trained: TrainedModel, paths: Sequence[Path], rendering: Rendering
) -> Iterator[Prediction]:
    """Score images, some at a time, in the order of ``paths``."""
    for group in trained.read(paths, rendering):
        images = [image for _, image in group if not isinstance(image, Refusal)]
        scores = iter(trained.probabilities(np.stack(images)) if images else np.empty((0, 0)))
        for path, image in group:
            if isinstance(image, Refusal):
                yield Prediction(str(path), (), (), image.reason)
            else:
                own = next(scores)
                yield Prediction(str(path), tuple(trained.predicted(own)), tuple(own.tolist()))


def as_values(trained: TrainedModel, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Plain values for JSON."""
    file = trained.file
    return {
        "schema": SCHEMA,
        "model": {"run_id": file.run_id, "name": file.model.name, "classes": file.classes},
        "multi_label": bool(file.multi_label),
        "images": [
            {"file": one.file, "refused": one.refused}
            if one.refused
            else {
                "file": one.file,
                "predicted": one.predicted,
                "probabilities": dict(zip(trained.classes, one.probabilities, strict=True)),
            }
            for one in predictions
        ],
    }


def as_csv(trained: TrainedModel, predictions: Sequence[Prediction]) -> str:
    """A row an image: its file, what is predicted, each class's probability, why it was refused."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "predicted", *trained.classes, "refused"])
    blank = ("",) * len(trained.classes)
    for one in predictions:
        scores = tuple(f"{p:.6g}" for p in one.probabilities) or blank
        rows.writerow([one.file, "|".join(one.predicted), *scores, one.refused or ""])
    return text.getvalue()


def as_table(trained: TrainedModel, predictions: Sequence[Prediction]) -> Table:
    """For a person: the likeliest classes of each image."""
    table = Table("image", "predicted", "probability")
    for one in predictions:
        ranked = sorted(zip(one.probabilities, trained.classes, strict=False), reverse=True)
        likely = ", ".join(f"{name} {p:.3f}" for p, name in ranked[:SHOWN])
        none = "none of the classes" if one.probabilities else "not read"
        cells = one.file, ", ".join(one.predicted) or none, likely or str(one.refused)
        table.add_row(*map(escape, cells))
    return table
