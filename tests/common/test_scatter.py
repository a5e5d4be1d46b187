"""Scattering: what it is the same for, what it tells apart, and that nothing in it is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.checks import parse_experiment
from common.errors import SettingsError
from common.model_settings import ModelSettings
from common.models import build_model
from common.models.random_processes import random_images
from common.models.scatter import Scatter, public_scale
from common.models.wavelets import morlet
from tests.common.test_models import BASE

SCATTER = ModelSettings("scatter", width=4)


def images(channels: int = 3, count: int = 8, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return (random_images(count, channels, size, generator) - 0.5) / 0.25


@pytest.mark.parametrize("channels", [1, 3])
def test_random_images_follow_from_the_generator_and_are_images(channels: int) -> None:
    drawn = [random_images(6, channels, 24, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (6, channels, 24, 24)
    assert drawn[0].min() >= 0
    assert drawn[0].max() <= 1
    assert drawn[0].std(dim=(1, 2, 3)).min() > 0.01


def test_wavelets_see_no_constant_and_answer_to_their_own_wave_most() -> None:
    filters = morlet(4)
    assert filters.sum(dim=(1, 2, 3)) == pytest.approx(torch.zeros(8).numpy(), abs=1e-6)
    across = filters[0, 0]
    turned = filters[2, 0]
    torch.testing.assert_close(across.T, turned)
    wave = torch.cos(1.9 * torch.arange(-3, 4.0))[None].expand(7, 7)
    answers = [float((wave * real).sum().abs()) for real in filters[:4, 0]]
    assert max(answers) == answers[0] > 2 * answers[2]


@pytest.mark.parametrize("channels", [1, 3])
def test_features_stay_where_the_image_is_mirrored_or_turned(channels: int) -> None:
    model, given = Scatter(channels, SCATTER), images(channels)

    def features(x: torch.Tensor) -> torch.Tensor:
        return model(x).mean(dim=(2, 3))

    plain = features(given)
    for moved in (given.flip(3), given.flip(2), given.rot90(1, (2, 3)), given.transpose(2, 3)):
        torch.testing.assert_close(features(moved), plain, atol=1e-4, rtol=0)
    assert (features(given.roll(1, dims=0)) - plain).norm(dim=1).min() > 0.1


def test_random_images_have_features_about_zero_and_of_norm_one() -> None:
    found = Scatter(3, SCATTER)(images(count=64, size=48)).mean(dim=(2, 3))
    assert found.mean(dim=0).norm() < 0.5
    assert 0.5 < found.norm(dim=1).mean() < 1.5


def test_rounding_where_an_image_is_flat_is_not_taken_for_structure() -> None:
    model, flat = Scatter(1, SCATTER), torch.full((1, 1, 32, 32), 2.0)
    rounded = flat + 2e-5 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    moved = (model(rounded) - model(flat)).abs() * model.scale
    assert moved.max() < 1e-4


@pytest.mark.parametrize(("size", "side"), [(28, 3), (32, 4), (64, 8)])
def test_maps_of_all_scales_come_to_one_size(size: int, side: int) -> None:
    model = Scatter(1, SCATTER)
    assert model(images(1, 2, size)).shape == (2, model.out_channels, side, side)


def test_nothing_but_the_head_is_trained() -> None:
    base = parse_experiment(BASE)
    model = build_model(replace(base, model=SCATTER))
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert trained == ["head.weight", "head.bias"]
    again = build_model(replace(base, model=SCATTER, seed=7), seed=7)
    assert torch.equal(model.backbone.offset, again.backbone.offset)  # type: ignore[arg-type]
    assert torch.equal(model.backbone.offset.flatten(), public_scale(1, 4)[0])  # type: ignore[operator,union-attr]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"model\.width=3: .* expected an even number"):
        Scatter(1, ModelSettings("scatter", width=3))
    with pytest.raises(SettingsError, match=r"model\.stem=imagenet"):
        Scatter(1, ModelSettings("scatter", width=4, stem="imagenet"))
