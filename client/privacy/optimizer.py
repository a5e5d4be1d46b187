"""The clip and the noise: DP-SGD's step (Abadi et al. 2016, algorithm 1) in Opacus's optimiser."""

from __future__ import annotations

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor

from client.privacy.entropy import SecretStream


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
        self.begin_step()

    def begin_step(self) -> None:
        """Start from an empty sum, which is what an empty batch leaves it at."""
        for parameter in self.params:
            parameter.grad_sample = None
            parameter.summed_grad = torch.zeros_like(parameter)

    def add_rows(self) -> None:
        """Clip each row's gradient to C and add it: one patient moves the sum by at most C."""
        _zero_rows_not_finite([p.grad_sample for p in self.params])
        self.clip_and_accumulate()
        for parameter in self.params:
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


def _zero_rows_not_finite(grad_samples: list[Tensor]) -> None:
    """Set to zero, in place, the rows whose squared norm is NaN or overflows.

    Args:
        grad_samples: for each parameter, (B, *shape).
    """
    squares = torch.stack([g.flatten(1).pow(2).sum(dim=1) for g in grad_samples])  # (P, B)
    broken = ~squares.sum(dim=0).isfinite()  # (B,)
    if broken.any():
        for grad_sample in grad_samples:
            grad_sample[broken] = 0.0
