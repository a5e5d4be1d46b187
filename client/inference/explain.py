"""Why a model says what it says of an image: maps, what they are worth, and a picture of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.inference.overlay import Panel, draw_overlay
from client.inference.trained import TrainedModel, probabilities_of
from common.checkpoint import write_bytes
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering
from common.data.images import try_read
from common.data.transforms import normalise
from common.explain import Faithfulness, MethodName, faithfulness, saliency

SHOWN_SIZE = 384
"""Pixels of the image under a map; the model itself sees it at its own size."""


@dataclass(frozen=True)
class Explained:
    """One image, for one class; ``refused`` where it cannot be read."""

    file: str
    class_name: str = ""
    probability: float = 0.0
    faithfulness: Mapping[str, Faithfulness] | None = None
    overlay: str | None = None
    refused: str | None = None


def explain(
    trained: TrainedModel,
    pictures: Mapping[Path, Path],
    methods: Sequence[MethodName],
    class_name: str | None,
    rendering: Rendering,
) -> Iterator[Explained]:
    """Explain images one by one, and write a picture of each.

    Args:
        trained: the model.
        pictures: image file to the PNG that is written for it.
        methods: which maps.
        class_name: for which class; ``None`` means each image's most likely one.
        rendering: how files are shown.
    """
    for group in trained.read(list(pictures), rendering):
        for path, image in group:
            if isinstance(image, Refusal):
                yield Explained(str(path), refused=image.reason)
            else:
                yield _explain_one(
                    trained, path, pictures[path], image, methods, class_name, rendering
                )


def _explain_one(
    trained: TrainedModel, path: Path, picture: Path, image: NDArray[np.uint8],
    methods: Sequence[MethodName], class_name: str | None, rendering: Rendering,
) -> Explained:  # fmt: skip
    scores = trained.probabilities(image[None])[0]
    k = int(scores.argmax()) if class_name is None else trained.classes.index(class_name)
    tensor = normalise(torch.tensor(image))

    def score(images: Tensor) -> Tensor:
        return probabilities_of(trained.model(images), trained.file)[:, k]

    worth, panels = dict[str, Faithfulness](), []
    for name in methods:
        found = saliency(name, trained.model, tensor[None], torch.tensor([k]))[0]
        worth[name] = faithfulness(score, tensor, found)
        title = f"{name.replace('_', ' ')}\ndeletion {worth[name].deletion:.2f}, insertion "
        panels.append(Panel(f"{title}{worth[name].insertion:.2f}", found.numpy()))
    heading = f"{trained.classes[k]}: probability {scores[k]:.2f}"
    shown = try_read(path, SHOWN_SIZE, trained.file.channels, trained.shown(rendering))
    below = image if isinstance(shown, Refusal) else shown
    write_bytes(picture, draw_overlay(below, heading, panels))
    return Explained(str(path), trained.classes[k], float(scores[k]), worth, str(picture))
