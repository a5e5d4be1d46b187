"""Is the noise as large as claimed? Chi-square tests over many coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import chdtr, chdtrc
from torch import nn

from client.privacy.entropy import SecretStream
from client.privacy.optimizer import PatientOptimizer
from simulations.audit.claim import Claim

COORDINATES = 1_000_000


@dataclass(frozen=True)
class NoiseLevel:
    """The noise found, over the noise claimed.

    Attributes:
        coordinates: how many were looked at.
        ratio: standard deviation found / claimed.
        p_value: two-sided, of a standard deviation that is exactly as claimed.
    """

    coordinates: int
    ratio: float
    p_value: float


def noise_level(noise: NDArray[np.float64], deviation: float) -> NoiseLevel:
    """Test that independent normals of mean 0 have standard deviation ``deviation``.

    Σ (x / deviation)² is chi-square with as many degrees of freedom as there are coordinates.
    """
    count = noise.size
    statistic = float(np.square(noise / deviation).sum())
    tail = min(float(chdtr(count, statistic)), float(chdtrc(count, statistic)))
    return NoiseLevel(count, math.sqrt(statistic / count), min(1.0, 2 * tail))


def empty_batch_noise(claim: Claim, coordinates: int = COORDINATES) -> NoiseLevel:
    """What the private optimiser adds to an empty batch: σC / denominator and nothing else."""
    denominator = 8.0
    parameter = nn.Parameter(torch.zeros(coordinates))
    optimizer = PatientOptimizer(
        torch.optim.SGD([parameter], lr=1.0),
        noise_multiplier=claim.noise_multiplier,
        max_grad_norm=claim.max_grad_norm,
        denominator=denominator,
        stream=SecretStream(),
    )
    optimizer.noisy_step()
    deviation = claim.noise_multiplier * claim.max_grad_norm / denominator
    return noise_level(parameter.detach().double().numpy(), deviation)
