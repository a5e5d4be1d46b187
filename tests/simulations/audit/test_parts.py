"""The canvas, the probe, the noise test, membership rates and the inversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from client.privacy.guard import refuse_leaking_modules
from common.data.transforms import normalise
from simulations.audit.attack import Attack
from simulations.audit.canaries import COPIES, SPARE, lay_out, place_canaries
from simulations.audit.claim import Claim
from simulations.audit.curve import TradeoffCurve
from simulations.audit.inversion import invert
from simulations.audit.membership import membership
from simulations.audit.noise import empty_batch_noise, noise_level
from simulations.audit.phantom import phantom_patients
from simulations.audit.picture import write_picture
from simulations.audit.probe import NORM, CanaryProbe


def test_everybody_has_pixels_of_their_own() -> None:
    others = phantom_patients(0)
    placed = place_canaries(600, 3, others)
    canvas, cohort = placed.canvas, placed.cohort
    assert len(canvas.spare_pixels) >= SPARE
    corner = np.zeros((canvas.size, canvas.size), dtype=bool)
    corner[:32, :32] = True
    pixels = [np.flatnonzero(corner), canvas.canary_pixels, canvas.spare_pixels]
    assert np.array_equal(np.sort(np.concatenate(pixels)), np.arange(canvas.size**2))

    count = int(placed.included.sum())
    assert 240 < count < 360
    assert len(cohort.patients) == count + len(others.patients)
    flat = cohort.images.reshape(len(cohort.images), -1)
    expected = zip(canvas.canary_pixels[placed.included], cohort.patients, strict=False)
    for pixel, rows in expected:
        assert len(rows) in (1, COPIES)
        for row in rows:
            assert np.flatnonzero(flat[row]).tolist() == [pixel]
    assert not flat[:, placed.untouched].any()
    last = flat[cohort.patients[-1]].reshape(-1, canvas.size, canvas.size)
    np.testing.assert_array_equal(last[:, :32, :32], others.images[others.patients[-1], 0])
    assert sorted(np.concatenate(cohort.patients).tolist()) == list(range(len(flat)))


def test_no_one_elses_images_are_needed() -> None:
    """A cohort whose part is empty: its other rows are never copied."""
    others = phantom_patients(0, patients=3)
    none = type(others)(others.images, others.labels, others.rows[:0], ())
    placed = place_canaries(256, 0, none)
    assert len(placed.cohort.patients) == int(placed.included.sum())


def test_the_coins_follow_from_the_seed_and_are_fair() -> None:
    others = phantom_patients(0, patients=1)
    coins = [place_canaries(4096, seed, others).included for seed in (0, 0, 1)]
    assert np.array_equal(coins[0], coins[1])
    assert not np.array_equal(coins[0], coins[2])
    assert np.mean(coins) == pytest.approx(0.5, abs=0.03)


def test_a_canarys_gradient_is_its_own_pixel_far_above_the_clip() -> None:
    canvas = lay_out(256, 0)
    model = CanaryProbe(canvas.size**2, max_grad_norm=0.5)
    refuse_leaking_modules(model, 1, canvas.size)
    image = torch.zeros((1, 1, canvas.size, canvas.size), dtype=torch.uint8)
    image.view(-1)[7] = 255
    logit = model(normalise(image))
    torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.ones(1, 1)).backward()
    gradient = model.weights.weight.grad
    assert gradient is not None
    assert torch.nonzero(gradient[0]).flatten().tolist() == [7]
    assert float(gradient.norm()) == pytest.approx(NORM * 0.5)


def test_noise_of_the_claimed_level_passes_and_one_per_cent_less_does_not(claim: Claim) -> None:
    noise = 2.5 * np.random.default_rng(0).standard_normal((1000, 1000))
    right = noise_level(noise, 2.5)
    assert right.p_value > 0.01
    assert right.ratio == pytest.approx(1, abs=0.002)
    for factor in (0.99, 1.01):
        assert noise_level(factor * noise, 2.5).p_value < 1e-12
    empty = empty_batch_noise(claim)
    assert empty.coordinates == 1_000_000
    assert empty.p_value > 1e-4


def test_membership_counts_at_a_threshold_of_those_out(curve: TradeoffCurve) -> None:
    scores = np.concatenate([np.arange(2000.0), np.full(100, 1998.5), np.full(900, -1.0)])
    included = np.arange(3000) >= 2000
    few, more = membership(Attack(included, np.ones(3000, np.int64), scores, scores), curve)
    assert few.false_positive_rate == 0.001  # 1998 and 1999 pass the threshold of 1997
    assert few.true_positive_rate == 0.1
    assert more.false_positive_rate == 0.01
    low, high = few.false_positive_interval
    assert low < 0.001 < high
    assert few.allowed == pytest.approx(0.0576, abs=0.001)
    assert few.allowed < few.allowed_at_most < more.allowed_at_most


def test_an_update_gives_the_image_back_unless_it_is_private(claim: Claim, tmp_path: Path) -> None:
    found = invert(claim, 0)
    assert found.correlation_plain > 0.999
    assert np.abs(found.plain - found.original).max() < 0.01
    assert abs(found.correlation_private) < 0.1
    write_picture(tmp_path / "inversion.png", found, claim)
    assert (tmp_path / "inversion.png").read_bytes().startswith(b"\x89PNG")
