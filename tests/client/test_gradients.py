"""A patient's gradient is the mean over its views, made before the clip."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from client.loss import loss_per_image
from client.privacy import gradients
from client.privacy.entropy import SecretStream
from client.privacy.gradients import patient_gradients, patients_at_once
from client.privacy.optimizer import PatientOptimizer, clip_factors
from common.model_settings import ModelSettings
from common.models.classifier import Classifier
from common.models.cnn import CNN

C = 0.05
VIEWS = 4
LOSS = partial(loss_per_image, multi_label=False)


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(CNN(1, ModelSettings(width=4)), 2, {}).train()


def batch(patients: int) -> tuple[Tensor, Tensor]:
    """Views of ``patients``, one after the other, each unlike the rest."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(patients * VIEWS, 1, 16, 16, generator=generator)
    labels = torch.eye(2)[torch.arange(patients) % 2].repeat_interleave(VIEWS, dim=0)
    return images, labels


def by_loop(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """One patient after another in float64: the mean of its views, clipped, and their sum."""
    model = copy.deepcopy(model).double()
    rows = []
    for i in range(0, len(images), VIEWS):
        model.zero_grad()
        loss = LOSS(model(images[i : i + VIEWS].double()), labels[i : i + VIEWS]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        row = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        rows.append(row * min(1.0, C / float(row.norm())))
    return torch.stack(rows).sum(dim=0)


def clipped_sum(model: nn.Module, images: Tensor, labels: Tensor, views: int = VIEWS) -> Tensor:
    optimizer = PatientOptimizer(
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=C,
        denominator=1.0,
        stream=SecretStream(),
    )
    with patient_gradients(model, LOSS) as fill:
        fill((images,), labels, views)
        optimizer.add_rows()
    return torch.cat([p.summed_grad.flatten() for p in optimizer.params])


def test_the_views_mean_is_clipped_as_in_a_loop(model: nn.Module) -> None:
    images, labels = batch(5)
    expected = by_loop(model, images, labels)
    found = clipped_sum(model, images, labels).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert all(p.grad is None for p in model.parameters())  # the batch's own sum is not computed
    assert not any(hasattr(p, "grad_sample") for p in model.parameters())


@pytest.mark.parametrize("views", [1, 2])
def test_the_loop_tells_a_mean_that_is_made_after_the_clip(model: nn.Module, views: int) -> None:
    """Rows of one or two views, clipped and averaged: another mechanism, whatever its norm."""
    images, labels = batch(5)
    found = clipped_sum(model, images, labels, views).double() * views / VIEWS
    assert not torch.allclose(found, by_loop(model, images, labels), atol=1e-6, rtol=1e-2)


def test_a_frozen_part_has_no_gradient_and_the_rest_its_own(model: nn.Module) -> None:
    images, labels = batch(3)
    model.requires_grad_(False)
    model.head.requires_grad_(True)  # type: ignore[union-attr]
    found = clipped_sum(model, images, labels).double()
    torch.testing.assert_close(found, by_loop(model, images, labels), atol=1e-6, rtol=1e-4)
    assert len(found) == 2 * 16 + 2  # the head's alone


def test_a_patient_with_one_view_that_is_not_finite_counts_as_zero(model: nn.Module) -> None:
    images, labels = batch(3)
    images[VIEWS + 1] = float("nan")
    others = [*range(VIEWS), *range(2 * VIEWS, 3 * VIEWS)]
    expected = by_loop(model, images[others], labels[others])
    found = clipped_sum(model, images, labels).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_what_is_held_at_once_follows_from_the_model_alone(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [patients_at_once(model, views) for views in (1, 4, 1000)] == [128, 32, 1]
    monkeypatch.setattr(gradients, "MAX_NUMBERS", 20 * sum(p.numel() for p in model.parameters()))
    assert [patients_at_once(model, views) for views in (1, 4)] == [20, 5]


def test_automatic_clipping_brings_every_row_to_just_below_c() -> None:
    """C / (norm + γ), γ = 0.01; norms in float32, so C itself may be met and never passed."""
    norms = torch.tensor([0.0, 1e-4, 0.01, 1.0, 1e6, torch.inf, torch.nan])
    moved = clip_factors(norms, C, "automatic") * norms
    assert moved[:4].tolist() == pytest.approx([0.0, C * 1e-4 / 0.0101, C / 2, C / 1.01])
    assert moved[4] <= C * (1 + 1e-6)
    assert clip_factors(norms, C, "automatic")[5:].tolist() == [0.0, 0.0]
    flat = clip_factors(norms, C, "flat") * norms
    assert flat[:5].tolist() == pytest.approx([0.0, 1e-4, 0.01, C, C], rel=1e-4)
