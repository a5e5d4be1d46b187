"""Cohorts and models whose scores can be written down: an image's first pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from client.cohort import Cohort
from common.checks import parse_experiment
from common.config import Experiment

CLASSES = ("nodule", "cyst", "scar")
K = len(CLASSES)
NAN = float("nan")


def experiment_of(multi_label: bool) -> Experiment:
    return parse_experiment(
        f"""
name: test
seed: 0
rounds: 1
local_steps: 1
threads: 1
data: {{classes: [{", ".join(CLASSES)}], multi_label: {str(multi_label).lower()}, image_size: 16}}
model: {{name: cnn, width: 4}}
strategy: {{batch_size: 4}}
privacy: {{unit: none}}
"""
    )


Patient = list[tuple[list[float], list[int]]]
"""A list of images, each its K labels and its first K pixels."""

SINGLE, MULTI = experiment_of(False), experiment_of(True)


class Pixels(nn.Module):
    """Logits are an image's first K pixels, on a scale of −6 to 6."""

    def forward(self, images: Tensor) -> Tensor:
        return 3.0 * images.flatten(1)[:, :K]


class Gossip(Pixels):
    """A model in which images of one batch change each other, as they do in a batch norm."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits - logits.mean(dim=0)


def cohort_of(*patients: Patient) -> Cohort:
    """A cohort of patients. Row 0 is an image of another part, and has every class."""
    images = [([1.0] * K, [255] * K), *(image for patient in patients for image in patient)]
    pixels = np.zeros((len(images), 1, 16, 16), np.uint8)
    for i, (_, first) in enumerate(images):
        pixels[i, 0, 0, :K] = first
    ends = np.cumsum([1, *(len(patient) for patient in patients)])
    rows = tuple(np.arange(a, b) for a, b in pairwise(ends))
    labels = np.array([label for label, _ in images], np.float32)
    return Cohort(pixels, labels, np.arange(1, len(images)), rows)


def one_hot(k: int) -> list[float]:
    return [float(i == k) for i in range(K)]


def random_patients(counts: dict[int, int], seed: int, images: int = 2) -> list[Patient]:
    """``counts[k]`` patients of class k, with some images each."""
    rng = np.random.default_rng(seed)
    return [
        [(one_hot(k), rng.integers(0, 256, K).tolist()) for _ in range(images)]
        for k, count in counts.items()
        for _ in range(count)
    ]
