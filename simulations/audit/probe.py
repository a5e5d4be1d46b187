"""The audited training: the private path itself, on a model through which an attacker can see.

The attacker of DP-SGD's proof sees every noisy step. So does this one: PyTorch tells it after
each step, and the weights' change is the clipped sum with its noise, a coordinate for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from client.entries import Charge
from client.privacy.training import train_private
from common.config import Experiment, PrivacyTarget, StrategySettings, TaskSettings
from common.errors import PrivacyError
from common.model_settings import ModelSettings
from simulations.audit.canaries import Canaries
from simulations.audit.claim import Claim

NORM = 8.0
"""A canary's gradient before the clip, in units of C: a clip at the wrong norm shows up to here."""
TRAVEL = 0.02
"""How far a weight goes in a run that draws its canary at every step. The less, the less any
gradient depends on the steps before it; float32 still resolves a step to one part in 1e5."""


class CanaryProbe(nn.Module):
    """One weight a pixel: a canary's gradient has one coordinate, its own pixel's.

    Black pixels (−2 after normalisation) give 0 behind the ReLU, so the weights of pixels that an
    image does not light get no gradient from it. There is no bias, which all would share.

    Args:
        pixels: number of pixels of the images.
        max_grad_norm: C.
    """

    def __init__(self, pixels: int, max_grad_norm: float) -> None:
        super().__init__()
        self.gain = NORM * max_grad_norm
        self.weights = nn.Linear(pixels, 1, bias=False)
        nn.init.zeros_(self.weights.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 1, H, W) to logits (B, 1)."""
        logits: Tensor = self.weights(self.gain * torch.relu(images).flatten(1))
        return logits


def observe(
    canaries: Canaries, claim: Claim, on_step: Callable[[], None] = lambda: None
) -> NDArray[np.float64]:
    """Train under the claim and watch.

    Args:
        canaries: whom to train on.
        claim: the constants handed to ``train_private``.
        on_step: called after each step.

    Returns:
        float64 (steps, pixels): each step's noisy sum in units of C. Where a canary of one was
        drawn its pixel has mean 1, elsewhere 0, and noise of standard deviation σ.

    Raises:
        PrivacyError: where another number of steps was taken than is claimed.
    """
    pixels = canaries.canvas.size**2
    model = CanaryProbe(pixels, claim.max_grad_norm)
    denominator = claim.sample_rate * len(canaries.included)
    per_unit = TRAVEL / claim.steps  # what one canary drawn once moves its weight by
    experiment = probe_experiment(
        canaries.canvas.size, claim, per_unit * denominator / claim.max_grad_norm
    )
    seen = [np.zeros(pixels)]
    weight = model.weights.weight

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if optimizer.param_groups[0]["params"][0] is weight:
            seen.append(weight.detach().flatten().double().cpu().numpy())
            on_step()

    handle = register_optimizer_step_post_hook(note)
    try:
        charge = Charge(
            claim.unit,
            claim.sample_rate,
            claim.noise_multiplier,
            claim.max_grad_norm,
            claim.steps,
        )
        train_private(model, canaries.cohort, experiment, charge, denominator, server_round=1)
    finally:
        handle.remove()
    if len(seen) != claim.steps + 1:
        raise PrivacyError(
            f"the audited training took {len(seen) - 1} steps where {claim.steps} are claimed"
        )
    return np.diff(np.stack(seen), axis=0) / per_unit


def probe_experiment(image_size: int, claim: Claim, learning_rate: float) -> Experiment:
    """Plain SGD at a constant rate, so that a step is its noisy sum and nothing else."""
    return Experiment(
        name="audit",
        seed=0,
        rounds=1,
        local_steps=claim.steps,
        threads=1,
        data=TaskSettings(classes=("canary",), multi_label=True, image_size=image_size, channels=1),
        model=ModelSettings(),
        strategy=StrategySettings(
            optimizer="sgd",
            learning_rate=learning_rate,
            schedule="constant",
            momentum=0.0,
            weight_decay=0.0,
            batch_size=1,
        ),
        privacy=PrivacyTarget(unit="patient", delta=claim.delta),
    )
