"""Each patient's gradient: the mean over its views, made before the clip.

A patient that is drawn gives one image, seen ``privacy.augmentations`` times, each time changed by
its own draw (De et al. 2022, section 3.2). The mean of the views' gradients is one row: so many
views cost no privacy. As rows of their own, or averaged after the clip, they would not be the
mechanism that the accountant prices.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from opacus import GradSampleModule
from torch import Tensor, nn

import client.privacy.samplers  # noqa: F401  # registers our own
from client.loss import Loss
from client.precision import logits_of
from common.config import Precision
from common.models import Inputs

MAX_ROWS = 128
"""Views whose gradients are held at once; a larger batch is split before the clip."""
MAX_NUMBERS = 2**28
"""Numbers that those gradients may have together: 1 GiB."""

FillGradients = Callable[[Inputs, Tensor, int], None]
"""(inputs of P·K rows, labels (P·K, L), K): sets ``grad_sample`` of each parameter that trains
to (P, *shape). A patient's K views stand one after the other."""


def patients_at_once(model: nn.Module, views: int) -> int:
    """How many patients' gradients fit, by the model's size alone."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return max(1, min(MAX_ROWS, MAX_NUMBERS // max(1, trained)) // views)


@contextmanager
def patient_gradients(
    model: nn.Module, loss: Loss, precision: Precision = "float32"
) -> Iterator[FillGradients]:
    """Make ``model`` give a gradient for each patient while the context lasts.

    Args:
        model: in train mode; left as it was.
        loss: one loss an image.
        precision: of the forward and backward pass.
    """
    module = GradSampleModule(model, loss_reduction="sum")
    trained = [p for p in model.parameters() if p.requires_grad]
    whole = len(trained) == len(list(model.parameters()))

    def fill(inputs: Inputs, labels: Tensor, views: int) -> None:
        inputs = tuple(value.detach().requires_grad_(whole) for value in inputs)
        total = loss(logits_of(module, inputs, precision), labels).sum()
        # Asked for the inputs' gradient alone, autograd skips the weights' own, summed over the
        # batch, which nobody needs; Opacus's hooks fire all the same. Where a part is frozen, the
        # way back ends above it.
        _backward(total, inputs if whole else trained)
        for parameter in trained:
            rows: Tensor = parameter.grad_sample  # type: ignore[attr-defined]  # Opacus's own
            rows = rows.to(parameter.dtype)  # the clip is never in half precision
            if views > 1:
                rows = rows.reshape(-1, views, *parameter.shape).mean(dim=1)
            parameter.grad_sample = rows  # type: ignore[attr-defined]

    try:
        yield fill
    finally:
        module.to_standard_module()


def _backward(total: Tensor, inputs: Sequence[Tensor]) -> None:
    with warnings.catch_warnings():  # Opacus hooks the first layer, whose input may be frozen
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        torch.autograd.backward(total, inputs=inputs)
