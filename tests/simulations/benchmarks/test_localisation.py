"""Maps against masks: by hand, and on lesions whose place the phantom's generator knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.benchmarks.localisation import Localised, shrunk
from simulations.hospitals import HOSPITALS, MASK_BITS, draw_image

ANATOMY = np.array([0, 0.40, 0.68, 0])


def square(size: int, top: int, left: int, side: int) -> np.ndarray:  # type: ignore[type-arg]
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_hit_energy_and_area_by_hand() -> None:
    mask = square(4, 0, 0, 2)
    maps = np.full((4, 4, 4), -1.0, np.float32)
    maps[0, 0, 1], maps[0, 3, 3] = 3.0, 1.0  # highest inside; three quarters of what is positive
    maps[1, 2, 2], maps[1, 1, 1] = 3.0, 1.0
    maps[2, 1, 1] = -0.5  # highest inside, and nothing is positive
    maps[3] = 0.5  # all alike: a quarter of the image is inside, and the first place is taken
    found = Localised.of(maps, np.stack([mask] * 4), np.array(["a", "b", "c", "d"]))
    assert found.hit.tolist() == [1, 0, 1, 1]
    assert found.energy.tolist() == [0.75, 0.25, 0, 0.25]
    assert found.area.tolist() == [0.25] * 4


def test_a_map_that_knows_the_lesion_is_right_and_one_of_noise_has_what_chance_has() -> None:
    rng = np.random.default_rng(0)
    masks = np.stack([square(16, *rng.integers(0, 12, 2), 4) for _ in range(400)])
    patients = np.array([f"p{number // 2}" for number in range(400)])
    knowing = Localised.of(masks.astype(np.float32), masks, patients).figures("x")
    assert knowing["hit"]["value"] == knowing["energy"]["value"] == 1
    noise = rng.random((400, 16, 16)).astype(np.float32)
    guessing = Localised.of(noise, masks, patients).figures("x")
    chance = guessing["area"]["value"]
    assert chance == 1 / 16
    for kind in ("hit", "energy"):
        assert guessing[kind]["low"] < chance < guessing[kind]["high"]
        assert guessing[kind]["support"] == 400


def test_an_interval_is_of_patients_not_of_images() -> None:
    """Ten equal images of each patient tell no more than one."""
    hit = np.random.default_rng(0).random(50) < 0.5
    once = Localised(np.arange(50).astype(str), *[hit.astype(float)] * 3).figures("x")["hit"]
    many = Localised(np.arange(50).repeat(10).astype(str), *[hit.repeat(10).astype(float)] * 3)
    for end in ("low", "high"):
        assert many.figures("x")["hit"][end] == pytest.approx(once[end], abs=1e-9)


def test_a_shrunk_mask_stays_in_place_and_never_vanishes() -> None:
    assert np.array_equal(shrunk(square(8, 2, 2, 4), 4), square(4, 1, 1, 2))
    assert shrunk(square(64, 17, 33, 1), 4).nonzero() == (np.array([1]), np.array([2]))
    assert not shrunk(np.zeros((8, 8), bool), 4).any()


def test_the_phantoms_masks_are_where_its_lesions_were_drawn() -> None:
    """What a nodule adds to an image is at least half as much inside its mask as at its centre."""
    quiet = replace(HOSPITALS[0], noise=0.0)  # and its exposure changes nothing
    shared = 0
    for seed in range(20):
        both, mask = draw_image(quiet, (True, True), ANATOMY, np.random.default_rng(seed))
        without, cloud = draw_image(quiet, (False, True), ANATOMY, np.random.default_rng(seed))
        added = both - without
        assert np.array_equal(mask & MASK_BITS["nodule"] > 0, added > added.max() / 2)
        assert np.array_equal(mask & MASK_BITS["infiltrate"], cloud)  # a nodule over it hides none
        shared += (mask == sum(MASK_BITS.values())).any()
    assert shared
