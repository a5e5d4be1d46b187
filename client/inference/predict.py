"""What a model says of images, as values, CSV or a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table

from client.inference.trained import TrainedModel, probabilities_of
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering
from common.metrics.answers import Answers
from common.schema import to_plain

SCHEMA = 1
ANSWERS = ("conformal_set", "at_specificity", "at_sensitivity")
"""Lists of classes that an operating point gives."""
SHOWN = 3
"""Most likely classes that the table shows; JSON and CSV have all."""


@dataclass(frozen=True)
class Prediction:
    """What is said of one image, or why it cannot be read."""

    file: str
    predicted: tuple[str, ...]
    probabilities: tuple[float, ...]
    """One a class, in the model's order; none where the image cannot be read."""
    answers: Answers | None = None
    """What thresholds and temperature make of it, where the model has some."""
    refused: str | None = None


def predict(
    trained: TrainedModel, paths: Sequence[Path], rendering: Rendering
) -> Iterator[Prediction]:
    """Score images, some at a time, in the order of ``paths``."""
    for group in trained.read(paths, rendering):
        images = [image for _, image in group if not isinstance(image, Refusal)]
        logits = trained.logits(np.stack(images)) if images else np.empty((0, 0))
        chances = probabilities_of(torch.from_numpy(logits), trained.file).numpy()
        scores = zip(logits, chances, strict=True)
        for path, image in group:
            if isinstance(image, Refusal):
                yield Prediction(str(path), (), (), refused=image.reason)
            else:
                own, p = next(scores)
                predicted, answers = tuple(trained.predicted(p)), trained.answers(own)
                yield Prediction(str(path), predicted, tuple(p.tolist()), answers)


def as_values(trained: TrainedModel, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Plain values for JSON."""
    file, point = trained.file, trained.file.operating_point
    return {
        "schema": SCHEMA,
        "model": {"run_id": file.run_id, "name": file.model.name, "classes": file.classes},
        "multi_label": bool(file.multi_label),
        "operating_point": point and point.to_json(trained.classes),
        "images": [_as_value(trained.classes, one) for one in predictions],
    }


def _as_value(classes: tuple[str, ...], one: Prediction) -> dict[str, Any]:
    if one.refused:
        return {"file": one.file, "refused": one.refused}
    value = {
        "file": one.file,
        "predicted": one.predicted,
        "probabilities": dict(zip(classes, one.probabilities, strict=True)),
    }
    if one.answers is None:
        return value
    calibrated = dict(zip(classes, one.answers.calibrated, strict=True))
    return {**value, **to_plain(one.answers), "calibrated": calibrated}


def as_csv(trained: TrainedModel, predictions: Sequence[Prediction]) -> str:
    """A row an image: its file, what is predicted, each class's probability, why it was refused.

    Of a model with an operating point further columns follow: calibrated probabilities, answers.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    classes, pointed = trained.classes, trained.file.operating_point is not None
    more = [*(f"calibrated {c}" for c in classes), *ANSWERS] if pointed else []
    head = ["file", "predicted", *classes, "refused", *more]
    rows.writerow(head)
    for one in predictions:
        scores = _numbers(one.probabilities) or [""] * len(classes)
        cells = [one.file, "|".join(one.predicted), *scores, one.refused or ""]
        if one.answers is not None:
            answers = (getattr(one.answers, name) or () for name in ANSWERS)
            cells += [*_numbers(one.answers.calibrated), *map("|".join, answers)]
        rows.writerow(cells + [""] * (len(head) - len(cells)))
    return text.getvalue()


def _numbers(values: Sequence[float]) -> list[str]:
    return [f"{p:.6g}" for p in values]


def as_table(trained: TrainedModel, predictions: Sequence[Prediction]) -> Table:
    """For a person: the likeliest classes of each image, and all that cannot be ruled out."""
    point = trained.file.operating_point
    sets = point is not None and point.conformal is not None
    table = Table("image", "predicted", "probability", *(["conformal set"] if sets else []))
    for one in predictions:
        ranked = sorted(zip(one.probabilities, trained.classes, strict=False), reverse=True)
        likely = ", ".join(f"{name} {p:.3f}" for p, name in ranked[:SHOWN])
        none = "none of the classes" if one.probabilities else "not read"
        cells = [one.file, ", ".join(one.predicted) or none, likely or str(one.refused)]
        if sets and one.answers is not None:
            cells.append(", ".join(one.answers.conformal_set or ()) or "empty")
        table.add_row(*map(escape, cells))
    return table
