"""The clip and the noise: DP-SGD's step (Abadi et al. 2016, algorithm 1) in Opacus's optimiser."""

from __future__ import annotations

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor

from client.privacy.entropy import SecretStream
from common.config import Clip

STABILITY = 0.01
"""γ of the automatic clip, the paper's default: how small a gradient counts as small."""


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus has no types
    """Opacus's optimiser for batches in which each row is one patient.

    Three things differ. Noise comes from a secret stream (``entropy.py``), not from PyTorch's
    generator. The sum is divided by a public constant, never by a count of the data. And a row
    whose gradient is not finite counts as zero: one NaN pixel would otherwise make every parameter
    NaN, which is a sensitivity without bound.

    A step, in Opacus's own methods:
        1. ``add_rows`` after each backward pass: clip every row to C and add it to the sum.
        2. ``noisy_step``: add noise of standard deviation σC to the sum, divide by the public
           denominator, and let the wrapped optimiser step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        denominator: float,
        stream: SecretStream,
        clip: Clip = "flat",
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self.stream = stream
        self.denominator = denominator
        self.clip = clip
        self.begin_step()

    def begin_step(self) -> None:
        """Start from an empty sum, which is what an empty batch leaves it at."""
        for parameter in self.params:
            parameter.grad_sample = None
            parameter.summed_grad = torch.zeros_like(parameter)

    def add_rows(self) -> None:
        """Clip each row's gradient to C and add it: one patient moves the sum by at most C."""
        norms = _row_norms([p.grad_sample for p in self.params])
        factors = clip_factors(norms, self.max_grad_norm, self.clip)
        broken = factors == 0
        for parameter in self.params:
            if broken.any():
                parameter.grad_sample[broken] = 0.0  # zero times NaN would be NaN
            parameter.summed_grad += torch.einsum("b,b...->...", factors, parameter.grad_sample)
            parameter.grad_sample = None

    def add_noise(self) -> None:
        """Add noise of standard deviation σC to every coordinate of the sum, in float64."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            noise = torch.from_numpy(self.stream.noise(parameter.numel())).view(parameter.shape)
            noisy = parameter.summed_grad.double() + deviation * noise.to(parameter.device)
            parameter.grad = noisy.to(parameter.dtype)

    def noisy_step(self) -> None:
        """Noise, divide, step: for an empty batch too, since the accountant counts it."""
        self.add_noise()
        for parameter in self.params:
            parameter.grad /= self.denominator
        self.original_optimizer.step()
        self.begin_step()


def clip_factors(norms: Tensor, max_grad_norm: float, clip: Clip) -> Tensor:
    """What each row is multiplied by, so that its norm is at most C; 0 where it is not finite.

    ``flat``: min(1, C / ‖g‖) (Abadi et al. 2016). ``automatic``: C / (‖g‖ + γ) (Bu et al. 2023,
    eq. 4.1): every row comes to just below C, so that C and the learning rate are one choice and
    not two. Both depend on the row alone.

    Args:
        norms: float32 (B,) of the rows, over all parameters.
        max_grad_norm: C.
        clip: which of the two.

    Returns:
        float32 (B,).
    """
    if clip == "automatic":
        factors = max_grad_norm / (norms + STABILITY)
    else:
        factors = (max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
    return torch.where(norms.isfinite(), factors, 0.0)


def _row_norms(grad_samples: list[Tensor]) -> Tensor:
    """L2 norm of each row over all parameters, (B,); each of them (B, *shape)."""
    norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grad_samples]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total
