"""A model file and its network, ready to score images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.decoding.process import Refusal
from common.data.dicom import Rendering
from common.data.images import read_many
from common.data.transforms import normalise
from common.metrics.answers import Answers, answers_of
from common.model_file import ModelFile, read_model_file
from common.models.classifier import Classifier

BATCH = 128
"""Images that are in memory at a time."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class TrainedModel:
    """What stands in ``model.json``, and the network in evaluation mode, on the CPU."""

    file: ModelFile
    model: Classifier

    @staticmethod
    def open(place: Path) -> TrainedModel:  # a model is opened, as a file is
        """Read a model; raises ``CheckpointError`` as :func:`read_model_file` does."""
        return TrainedModel(*read_model_file(place))

    @staticmethod
    def open_for_images(place: Path) -> TrainedModel:
        """As :meth:`open`, for a command that has images alone; says what the model then lacks."""
        trained = TrainedModel.open(place)
        if trained.file.model.metadata:
            names = ", ".join(trained.file.model.metadata)
            print(
                f"warning: this model also takes {names}; images alone do not give them, so they "
                "count as missing and its answers differ from those of its evaluation",
                file=sys.stderr,
            )
        return trained

    @property
    def classes(self) -> tuple[str, ...]:
        return self.file.as_experiment().classes

    def logits(self, images: Image) -> NDArray[np.float64]:
        """Score images.

        Args:
            images: uint8 (B, C, H, W) of the model's channels and size.

        Returns:
            float64 (B, K).
        """
        with torch.inference_mode():
            return np.asarray(self.model(normalise(torch.tensor(images))).double())

    def probabilities(self, images: Image) -> NDArray[np.float64]:
        """The same as float64 (B, K): a softmax over the classes, or multi-label a sigmoid each."""
        return probabilities_of(torch.from_numpy(self.logits(images)), self.file).numpy()

    def answers(self, logits: NDArray[np.float64]) -> Answers | None:
        """What the model's operating point makes of logits (K,); ``None`` where it has none."""
        point, multi_label = self.file.operating_point, bool(self.file.multi_label)
        return None if point is None else answers_of(point, logits, self.classes, multi_label)

    def predicted(self, probabilities: NDArray[np.float64]) -> list[str]:
        """The class of the greatest probability; multi-label, all that are as likely as not.

        Args:
            probabilities: float64 (K,).
        """
        if self.file.multi_label:
            return [c for c, p in zip(self.classes, probabilities, strict=True) if p >= 0.5]
        return [self.classes[int(probabilities.argmax())]]

    def shown(self, rendering: Rendering) -> Rendering:
        """How files are shown, made square in the model's own way."""
        return replace(rendering, resize=self.file.resize)

    def read(
        self, paths: Sequence[Path], rendering: Rendering
    ) -> Iterator[list[tuple[Path, Image | Refusal]]]:
        """Images as the model sees them, some at a time, in the order of ``paths``.

        Args:
            paths: files.
            rendering: how they are shown; how they become square is the model's own.

        Yields:
            Each file with uint8 (C, H, W), or with why it cannot be read.
        """
        size, channels, rendering = self.file.image_size, self.file.channels, self.shown(rendering)
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            found: dict[int, Image | Refusal] = {}
            read_many(part, size, channels, found.__setitem__, rendering)
            yield [(path, found[index]) for index, path in enumerate(part)]


def probabilities_of(logits: Tensor, file: ModelFile) -> Tensor:
    """Logits (B, K) to probabilities (B, K) of the same dtype."""
    return torch.sigmoid(logits) if file.multi_label else torch.softmax(logits, dim=1)
