"""Augmentation: what each kind may do, by its own generator alone."""

from __future__ import annotations

import time

import pytest
import torch

from common.config import Augmentation
from common.data.transforms import JITTERS, affine_maps, augment

KINDS: list[Augmentation] = ["chest", "ultrasound"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadrants(count: int) -> torch.Tensor:
    """uint8 (count, 1, 32, 32): each quarter has its own grey; the top left is the brightest."""
    image = torch.zeros(32, 32, dtype=torch.uint8)
    image[:16, :16], image[:16, 16:] = 220, 160
    image[16:, :16], image[16:, 16:] = 100, 40
    return image.expand(count, 1, 32, 32).clone()


def corners(images: torch.Tensor) -> torch.Tensor:
    """The mean of each quarter's middle, (B, 4): top left, top right, bottom left and right."""
    spots = [images[:, 0, y : y + 4, x : x + 4] for y in (8, 20) for x in (8, 20)]
    return torch.stack([spot.float().mean(dim=(1, 2)) for spot in spots], dim=1)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_ever_turned_upside_down(kind: Augmentation) -> None:
    found = corners(augment(quadrants(300), kind, generator()))
    assert (found[:, :2].amin(dim=1) > found[:, 2:].amax(dim=1)).all()


def test_a_chest_is_never_mirrored_and_half_of_the_ultrasounds_are() -> None:
    chest = corners(augment(quadrants(300), "chest", generator()))
    assert (chest[:, 0] > chest[:, 1]).all()
    ultrasound = corners(augment(quadrants(300), "ultrasound", generator()))
    share = (ultrasound[:, 0] > ultrasound[:, 1]).float().mean()
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_own_change_within_the_grey_range(kind: Augmentation) -> None:
    images = quadrants(16)
    changed = augment(images, kind, generator())
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert len({image.sum().item() for image in changed}) == 16
    assert torch.equal(images, quadrants(16))  # the caller's is not changed


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind: Augmentation) -> None:
    images = quadrants(4)
    torch.manual_seed(1)
    first = augment(images, kind, generator(5))
    torch.manual_seed(2)
    assert torch.equal(first, augment(images, kind, generator(5)))
    assert not torch.equal(first, augment(images, kind, generator(6)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_moves_no_further_than_the_set_allows(kind: Augmentation) -> None:
    """A spot in the middle stays within the shift, but for the width that rotation cannot move."""
    images = torch.zeros(200, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 31:33, 31:33] = 255
    changed = augment(images, kind, generator())[:, 0]
    floor = changed.amin(dim=(1, 2), keepdim=True)  # contrast lifts black
    weight = changed - floor
    places = torch.arange(64.0) + 0.5
    for axis in (1, 2):
        profile = weight.sum(dim=3 - axis)
        centre = (profile * places).sum(dim=1) / profile.sum(dim=1)
        assert (centre - 32).abs().max() <= 64 * JITTERS[kind].shift * 1.15 + 0.5
        assert (centre - 32).abs().max() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_stay_similar_mirrored_or_not(kind: Augmentation) -> None:
    """The linear part is orthogonal but for the scale: nothing is sheared or squeezed."""
    jitter = JITTERS[kind]
    draws = 2 * torch.rand((7, 100), generator=generator()) - 1
    linear = affine_maps(draws, jitter)[:, :, :2] * (1 + draws[1] * jitter.scale)[:, None, None]
    torch.testing.assert_close(linear @ linear.mT, torch.eye(2).expand(100, 2, 2))
    assert (torch.linalg.det(linear) < 0).any() == jitter.mirror
    assert (linear[:, 1, 1] > 0).all()


def test_a_batch_takes_milliseconds() -> None:
    images = torch.zeros(64, 1, 64, 64, dtype=torch.uint8)
    augment(images, "chest", generator())
    started = time.perf_counter()
    augment(images, "chest", generator())
    assert time.perf_counter() - started < 0.5
