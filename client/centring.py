"""Measuring the mean of a frozen backbone's features (``common/models/centre.py``).

``client/privacy/centring.py`` does it under privacy.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from client.cohort import Cohort
from common.data.transforms import normalise
from common.models import Classifier

ROWS = 256
"""Images whose features are computed at once."""


def centre_is_due(model: nn.Module) -> TypeGuard[Classifier]:
    """Whether the model has a centre that is not measured yet: its weights alone say so."""
    if not isinstance(model, Classifier) or model.centre is None:
        return False
    return not model.centre.is_measured


def mean_features(model: Classifier, images: Tensor) -> Tensor:
    """What the head stands on, without gradient: float32 (B, C) of normalised (B, C, H, W)."""
    with torch.no_grad():
        return model.features(images).mean(dim=(2, 3))


def move_centre(model: Classifier, step: Tensor) -> None:
    """Add float32 (C,)."""
    assert model.centre is not None
    model.centre.value += step[:, None, None].to(model.centre.value)


def measure_centre(model: Classifier, cohort: Cohort, target: torch.device) -> None:
    """Without privacy: the mean over all training images, as they are.

    Args:
        model: on ``target``.
        cohort: the training part.
        target: where to compute.
    """
    total = torch.zeros(model.backbone.out_channels)
    for rows in np.split(cohort.rows, range(ROWS, len(cohort.rows), ROWS)):
        images, _ = cohort.batch(rows)
        total += mean_features(model, normalise(images.to(target))).sum(dim=0).cpu()
    move_centre(model, total / len(cohort.rows))
