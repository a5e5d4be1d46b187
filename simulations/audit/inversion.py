"""Gradient inversion: one update of a first layer gives the image back, unless it is noised.

The gradient of a fully connected first layer's row i is g_i x, and that of its bias g_i, so their
ratio is the input x (Phong et al. 2017; Geiping et al. 2020, proposition 3.1). Over several rows
least squares, x̂ = Σ g_i (g_i x) / Σ g_i², is the best estimate where all have equal noise.

On phantom images alone: nobody's image is drawn back here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.cohort import Cohort
from client.entries import Charge
from client.privacy.training import train_private
from client.training import train_plain
from common.data.transforms import MEAN, STD
from simulations.audit.claim import Claim
from simulations.audit.phantom import phantom_patients
from simulations.audit.probe import probe_experiment

PIXELS = 64
HIDDEN = 16

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Inversion:
    """One image and what the attacker made of its update.

    Attributes:
        original, plain, private: float64 (H, W), in units of the image's range 0..1.
        correlation_plain: with the original, of what an update without privacy gives.
        correlation_private: the same under the claim.
    """

    original: Image
    plain: Image
    private: Image
    correlation_plain: float
    correlation_private: float


def invert(claim: Claim, seed: int) -> Inversion:
    """Take one step on one phantom image, without and with privacy, and invert both updates.

    The step is the worst case for the patient: it is drawn for certain (q = 1), and is alone.
    """
    cohort = phantom_patients(seed, patients=1, pixels=PIXELS)
    cohort = Cohort(cohort.images, cohort.labels[:, :1], cohort.rows[:1], (cohort.rows[:1],))
    experiment = probe_experiment(PIXELS, replace(claim, steps=1), learning_rate=1.0)
    original = cohort.images[0, 0] / 255.0

    plain = _model(seed)
    train_plain(plain, cohort, experiment, "phantom", 1)
    private = _model(seed)
    charge = Charge(claim.unit, 1.0, claim.noise_multiplier, claim.max_grad_norm, 1)
    train_private(private, cohort, experiment, charge, denominator=1.0, server_round=1)

    from_plain = _image_from_update(_model(seed), plain)
    from_private = _image_from_update(_model(seed), private)
    return Inversion(
        original=original,
        plain=from_plain,
        private=from_private,
        correlation_plain=_correlation(original, from_plain),
        correlation_private=_correlation(original, from_private),
    )


def _correlation(one: Image, other: Image) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _model(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        )


def _image_from_update(before: nn.Sequential, after: nn.Sequential) -> Image:
    """Least squares over the rows of the first layer, (H, W) with 0 black and 1 white."""
    weight, bias = (
        (start.detach() - end.detach()).double()
        for start, end in zip(before[1].parameters(), after[1].parameters(), strict=True)
    )
    image: Tensor = (bias @ weight) / bias.square().sum() * STD + MEAN  # (H · W,)
    return image.reshape(PIXELS, PIXELS).numpy()
