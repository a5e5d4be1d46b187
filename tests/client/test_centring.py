"""The centre of the features: a mean without privacy, and one priced step of the mechanism with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.centring import centre_is_due, measure_centre
from client.cohort import Cohort
from client.entries import Charge
from client.privacy.centring import measure_centre_privately
from client.privacy.entropy import SecretStream
from client.privacy.optimizer import PatientOptimizer
from client.privacy.training import train_private
from common.checks import parse_experiment
from common.compose import load_settings
from common.errors import SettingsError
from common.model_settings import ModelSettings
from common.models import Classifier, build_model
from tests.common.test_models import BASE, drawn_images

CENTRED = ModelSettings("scatter", width=4, centred=True)


def model_of(settings: ModelSettings = CENTRED) -> Classifier:
    return build_model(replace(parse_experiment(BASE), model=settings))


def features(model: Classifier, images: torch.Tensor) -> torch.Tensor:
    return model.features(images).mean(dim=(2, 3))


def cohort_of(images: np.ndarray) -> Cohort:
    rows = np.arange(len(images))
    labels = np.eye(3, dtype=np.float32)[rows % 3]
    return Cohort(images, labels, rows, tuple(rows[:, None]))


def charge(sigma: float, steps: int = 4) -> Charge:
    return Charge("patient", 0.5, sigma, 1.0, steps)


def measured(
    model: Classifier, inputs: list[torch.Tensor], views: int, sigma: float
) -> torch.Tensor:
    batch = [(images,) for images in inputs]
    measure_centre_privately(model, batch, views, 0.5, charge(sigma), 10.0, SecretStream())
    assert model.centre is not None
    return model.centre.value.flatten()


def test_without_privacy_the_centre_is_the_mean() -> None:
    model = model_of()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 32, 32), dtype=np.uint8)
    assert centre_is_due(model)
    measure_centre(model, cohort_of(pixels), torch.device("cpu"))
    assert not centre_is_due(model)
    images = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25
    after = features(model, images).mean(dim=0)
    torch.testing.assert_close(after, torch.zeros_like(after), atol=1e-5, rtol=0)


def test_under_privacy_it_is_the_sum_of_clipped_features_over_a_public_constant() -> None:
    model, images = model_of(), drawn_images(6, size=32)
    found = features(model, images).reshape(3, 2, -1).mean(dim=1)  # two views a patient
    clipped = found * (0.5 / found.norm(dim=1, keepdim=True)).clamp(max=1)
    assert (found.norm(dim=1) > 0.5).any()
    got = measured(model, [images[:4], images[4:]], 2, sigma=0.0)
    torch.testing.assert_close(got, clipped.sum(dim=0) / 10, atol=1e-5, rtol=1e-4)


def test_its_noise_is_sigma_times_the_clip_also_where_nobody_was_drawn() -> None:
    draws = torch.cat([measured(model_of(), [], 1, sigma=3.0) for _ in range(40)])
    expected = 3.0 * 0.5 / 10
    assert float(draws.std()) == pytest.approx(expected, rel=5 / np.sqrt(2 * len(draws)))


def test_an_image_that_is_not_a_number_counts_as_nobody() -> None:
    images = drawn_images(2, size=32)
    alone = measured(model_of(), [images[:1]], 1, sigma=0.0)
    images[1, 0, 0, 0] = torch.nan
    torch.testing.assert_close(measured(model_of(), [images], 1, sigma=0.0), alone)


@pytest.mark.parametrize("first", [True, False])
def test_it_takes_one_of_the_steps_that_are_priced(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = parse_experiment(
        BASE.replace("{unit: none}", "{unit: patient, epsilon: 8, delta: 1e-5}")
    )
    experiment = replace(base, model=CENTRED, local_steps=4)
    model = model_of()
    if not first:
        assert model.centre is not None
        model.centre.value += 1.0
    taken: list[int] = []
    honest = PatientOptimizer.noisy_step

    def counted(self: PatientOptimizer) -> None:
        taken.append(sum(parameter.numel() for parameter in self.params))
        honest(self)

    monkeypatch.setattr(PatientOptimizer, "noisy_step", counted)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 32, 32), dtype=np.uint8)
    train_private(model, cohort_of(pixels), experiment, charge(1.0), 10.0, 1)
    channels = model.backbone.out_channels
    head = 3 * (channels + 1)
    assert taken == ([channels] if first else [head]) + [head] * 3


def test_a_centre_that_training_or_the_strategy_would_move_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"model\.centred=true: the features of a backbone"):
        model_of(ModelSettings("cnn", width=4, centred=True))
    with pytest.raises(SettingsError, match=r"strategy\.name=fedadam goes on where the sites went"):
        load_settings(["model=scatter", "strategy=fedadam"])
    assert load_settings(["model=scatter", "strategy=fedprox"]).model.centred
