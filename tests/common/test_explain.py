"""Maps against what they must be where that can be written down, and what they are worth."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from common.config import Experiment
from common.errors import SettingsError
from common.explain import (
    BLACK,
    CURVE_STEPS,
    GREY,
    blurred,
    choose_methods,
    faithfulness,
    highest_first,
    saliency,
)
from common.models import build_model
from common.models.classifier import Backbone, Classifier
from common.models.evidence import EvidenceClassifier

SIZE = 8


class Doubled(Backbone):
    """A feature map that can be written down: the image, and twice the image."""

    out_channels = 2

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, 2 * images], dim=1)


def weighted(kind: type[Classifier], weights: list[list[float]]) -> Classifier:
    """A classifier of two classes on :class:`Doubled`, with these weights of its head."""
    model = kind(Doubled(), 2, {})
    weight, bias = model.head.weight, model.head.bias
    assert isinstance(weight, nn.Parameter)
    assert isinstance(bias, nn.Parameter)
    with torch.no_grad():
        weight.copy_(torch.tensor(weights).view_as(weight))
        bias.zero_()
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


CLASSES = torch.tensor([0, 1, 0])
WEIGHTS = [[1.0, 0.5], [-3.0, 1.0]]
SLOPES = torch.tensor([1.0 + 2 * 0.5, -3.0 + 2 * 1.0])[CLASSES][:, None, None]
"""What a pixel adds to its class's map."""


def test_evidence_is_what_the_head_adds_up(images: Tensor) -> None:
    model = weighted(EvidenceClassifier, WEIGHTS)
    found = saliency("evidence", model, images, CLASSES)
    assert torch.allclose(found, SLOPES * images[:, 0])
    logits = model(images)[torch.arange(3), CLASSES]
    assert torch.allclose(found.mean(dim=(1, 2)), logits, atol=1e-6)


def test_grad_cam_is_the_papers_equation(images: Tensor) -> None:
    pytest.importorskip("captum")
    found = saliency("gradcam", weighted(Classifier, WEIGHTS), images, CLASSES)
    # α_k is the mean of dy/dA_k, which is w_k / (h w); the map is Σ α_k A_k.
    assert torch.allclose(found, SLOPES * images[:, 0] / SIZE**2, atol=1e-7)


def test_integrated_gradients_of_a_linear_model_are_exact(images: Tensor) -> None:
    pytest.importorskip("captum")
    found = saliency("integrated_gradients", weighted(Classifier, WEIGHTS), images, CLASSES)
    expected = SLOPES * (images[:, 0] - BLACK) / SIZE**2
    assert torch.allclose(found, expected, atol=1e-6)


def test_integrated_gradients_add_up_to_the_change_of_the_logit(experiment: Experiment) -> None:
    pytest.importorskip("captum")
    model = build_model(experiment, seed=1).eval()
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([1, 0])
    found = saliency("integrated_gradients", model, images, classes)
    with torch.no_grad():
        change = model(images) - model(torch.full_like(images, BLACK))
    assert found.sum(dim=(1, 2)) == pytest.approx(change[torch.arange(2), classes], abs=0.02)
    assert all(parameter.grad is None for parameter in model.parameters())


def patch_score(images: Tensor) -> Tensor:
    """How much of a bright patch of four pixels is there."""
    return images[:, 0, 2:4, 2:4].mean(dim=(1, 2))


def test_a_true_map_is_faithful_and_its_opposite_is_not() -> None:
    image = torch.zeros(1, SIZE, SIZE)
    image[0, 2:4, 2:4] = 1.0
    true = faithfulness(patch_score, image, image[0])
    false = faithfulness(patch_score, image, -image[0])
    # Two pixels a step: the patch is gone, or there, after two of 32 steps.
    blur = float(patch_score(blurred(image)[None])[0])
    assert true.deletion == pytest.approx((0.5 * 1 + 0.5) / CURVE_STEPS, abs=1e-6)
    rising = [blur, (1 + blur) / 2] + [1.0] * (CURVE_STEPS - 1)
    area = sum((a + b) / 2 for a, b in pairwise(rising)) / CURVE_STEPS
    assert true.insertion == pytest.approx(area, abs=1e-6)
    assert false.deletion == pytest.approx(1 - (0.5 * 1 + 0.5) / CURVE_STEPS, abs=1e-6)
    assert false.insertion == pytest.approx(blur + (1 - blur) / 2 / CURVE_STEPS, abs=0.02)


def test_pixels_go_in_equal_steps_and_the_highest_first() -> None:
    ranking = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
    masks = highest_first(ranking)
    assert masks.shape == (CURVE_STEPS + 1, 16, 16)
    assert masks.sum(dim=(1, 2)).tolist() == [8 * step for step in range(CURVE_STEPS + 1)]
    for mask in masks[1:-1]:
        assert ranking[mask].min() > ranking[~mask].max()
    equal = highest_first(torch.zeros(4, 4))
    assert equal.sum(dim=(1, 2)).diff().min() >= 0
    assert equal[-1].all()


def test_what_is_taken_becomes_grey() -> None:
    seen: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        seen.append(images)
        return images.mean(dim=(1, 2, 3))

    image = torch.full((1, SIZE, SIZE), 1.5)
    faithfulness(score, image, torch.arange(SIZE * SIZE).float().view(SIZE, SIZE))
    falling, rising = seen
    assert torch.equal(falling[0], image)
    assert torch.equal(falling[-1], torch.full_like(image, GREY))
    assert torch.equal(rising[-1], image)


def test_a_blur_keeps_brightness_and_takes_details() -> None:
    image = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(3))
    soft = blurred(image)
    assert soft.std() < 0.2 * image.std()
    assert soft.mean() == pytest.approx(float(image.mean()), abs=0.05)


def test_methods_follow_from_the_head_and_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, evidence = weighted(Classifier, WEIGHTS), weighted(EvidenceClassifier, WEIGHTS)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "captum", nn)  # as if it were there
        assert choose_methods(None, linear) == ["gradcam", "integrated_gradients"]
        assert choose_methods(None, evidence) == ["evidence", "gradcam", "integrated_gradients"]
        assert choose_methods("gradcam", evidence) == ["gradcam"]
    with pytest.raises(SettingsError, match=r"one of gradcam, .*model\.head=evidence"):
        choose_methods("evidence", linear)
    with pytest.raises(SettingsError, match="--method saliency: expected one of evidence, "):
        choose_methods("saliency", evidence)
    monkeypatch.setitem(sys.modules, "captum", None)
    assert choose_methods("evidence", evidence) == ["evidence"]
    with pytest.raises(SettingsError, match=r"captum.*pip install 'fedrounds\[explain\]'"):
        choose_methods("gradcam", evidence)
