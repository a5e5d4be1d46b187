"""Unknown labels are masked within each image, in plain and in per-sample gradients."""

from __future__ import annotations

import math

import pytest
import torch
from opacus import GradSampleModule
from torch import nn

from client.loss import loss_per_image

NAN = math.nan


def test_an_unknown_label_counts_for_nothing_and_the_mean_is_over_the_known() -> None:
    logits = torch.tensor([[0.0, 3.0, -2.0], [1.0, 1.0, 1.0]])
    labels = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])
    loss = loss_per_image(logits, labels, multi_label=True)
    by_hand = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    assert loss.tolist() == [pytest.approx(by_hand), 0.0]
    changed = loss_per_image(logits + torch.tensor([0.0, 9.0, 0.0]), labels, multi_label=True)
    assert torch.equal(loss, changed)


def test_an_images_gradient_is_the_same_whatever_is_unknown_of_the_others() -> None:
    """Else one patient's labels would change what another contributes to a clipped sum."""
    torch.manual_seed(0)
    images = torch.randn(3, 4, requires_grad=True)

    def gradients(labels: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        layer = nn.Linear(4, 3)
        model = GradSampleModule(layer, loss_reduction="sum")
        loss_per_image(model(images), labels, multi_label=True).sum().backward()
        found = layer.weight.grad_sample
        assert isinstance(found, torch.Tensor)
        return found

    labels = torch.tensor([[1.0, 0.0, NAN], [0.0, 1.0, 1.0], [1.0, NAN, 0.0]])
    first = gradients(labels)
    assert first.isfinite().all()
    assert (first[0, 2] == 0).all()  # nothing is known of that class
    labels[1:] = NAN
    second = gradients(labels)
    assert torch.equal(first[0], second[0])
    assert (second[1:] == 0).all()
