"""Noised histograms: one count a patient and class, and the noise that was promised."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor, nn

from client.evaluation import BATCH
from client.privacy.entropy import SecretStream
from client.release import RELEASE_STEP, add_noise, patient_histograms
from client.withholding import patient_labels
from common.errors import PrivacyError
from common.histograms import PATIENT_BINS, Histograms, count_patients, patient_bins
from common.metrics.scores import log_odds
from tests.client.scoring import (
    MULTI,
    NAN,
    SINGLE,
    Gossip,
    K,
    Patient,
    Pixels,
    cohort_of,
    one_hot,
    random_patients,
)

label = st.sampled_from([0.0, 1.0, NAN])
image = st.tuples(
    st.tuples(*[label] * K).map(list), st.tuples(*[st.integers(0, 255)] * K).map(list)
)
patient = st.lists(image, min_size=1, max_size=10)


def distance(one: Histograms, other: Histograms) -> float:
    p, n = one.positives - other.positives, one.negatives - other.negatives
    return float(np.sqrt((p**2).sum() + (n**2).sum()))


@given(st.lists(patient, max_size=4), patient)
@settings(max_examples=60, deadline=None)
def test_a_patient_moves_the_histograms_by_at_most_root_k(
    others: list[Patient],
    joining: Patient,
) -> None:
    without = patient_histograms(Pixels(), cohort_of(*others), MULTI)
    joined = patient_histograms(Pixels(), cohort_of(*others, joining), MULTI)
    known = sum(any(not math.isnan(labels[k]) for labels, _ in joining) for k in range(K))
    assert distance(joined, without) == pytest.approx(math.sqrt(known))
    assert distance(joined, without) <= math.sqrt(K) + 1e-12


@pytest.mark.parametrize("model", [Pixels(), Gossip()])
def test_a_patient_of_ten_images_changes_nobody_elses_bin(model: nn.Module) -> None:
    """Not even where images of one batch would change each other."""
    everyone = random_patients({0: 20, 1: 20, 2: 20}, seed=0)
    joining = [(one_hot(i % K), [255, 255, 255]) for i in range(10)]
    without = patient_histograms(model, cohort_of(*everyone), SINGLE)
    joined = patient_histograms(model, cohort_of(*everyone, joining), SINGLE)
    assert distance(joined, without) == pytest.approx(math.sqrt(K))


def test_the_check_fails_when_patients_share_a_batch() -> None:
    everyone = random_patients({0: 20, 1: 20, 2: 20}, seed=0)
    joining = [(one_hot(0), [255, 255, 255])] * 10

    def all_at_once(patients: list[Patient]) -> Histograms:
        cohort = cohort_of(*patients)
        images, _ = cohort.batch(cohort.rows)
        logits = Gossip()((images.float() / 255 - 0.5) / 0.25).double()
        odds = log_odds(logits.numpy(), multi_label=False)
        means = np.stack([odds[own - 1].mean(axis=0) for own in cohort.patients])
        truths = np.stack([patient_labels(cohort.labels[own]) for own in cohort.patients])
        return count_patients(means, truths)

    moved = distance(all_at_once([*everyone, joining]), all_at_once(everyone))
    assert moved > 2 * math.sqrt(K)


def test_a_patients_score_is_the_mean_of_its_images_in_the_logit() -> None:
    pixels = [[200, 40, 128], [250, 90, 128], [20, 60, 128]]
    cohort = cohort_of([([1.0, 0.0, NAN], first) for first in pixels])
    h = patient_histograms(Pixels(), cohort, MULTI)
    logits = 3.0 * (np.array(pixels) / 255 - 0.5) / 0.25
    bins = patient_bins(logits.mean(axis=0))
    assert h.positives[0].nonzero()[0].tolist() == [bins[0]]
    assert h.negatives[1].nonzero()[0].tolist() == [bins[1]]
    assert h.positives.sum() + h.negatives.sum() == 2
    assert h.noise_std == 0.0


class Extreme(Pixels):
    def forward(self, images: Tensor) -> Tensor:
        return torch.where(images.flatten(1)[:, :K] > 1.9, float("inf"), super().forward(images))


def test_one_image_at_an_extreme_counts_for_no_more_than_the_limit() -> None:
    """Logits of +inf (taken as 16) and twice −6 have the mean 1.33."""
    images = [([1.0] * K, [255] * K), *[([1.0] * K, [0] * K)] * 2]
    h = patient_histograms(Extreme(), cohort_of(images), MULTI)
    assert h.positives[:, patient_bins(np.array([4 / 3]))[0]].tolist() == [1, 1, 1]


def test_a_single_label_patient_counts_once_for_every_class() -> None:
    cohort = cohort_of(*random_patients({0: 7, 1: 5, 2: 1}, seed=1, images=4))
    h = patient_histograms(Pixels(), cohort, SINGLE)
    assert h.positives.sum(axis=1).tolist() == [7, 5, 1]
    assert h.negatives.sum(axis=1).tolist() == [6, 8, 12]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[1, 0, NAN], [0, 0, NAN]], [1, 0, NAN]),
        ([[NAN, 0, 1], [0, NAN, 0]], [0, 0, 1]),
        ([[NAN, NAN, NAN]], [NAN, NAN, NAN]),
    ],
)
def test_one_positive_image_makes_a_positive_patient(
    labels: list[list[float]], expected: list[float]
) -> None:
    np.testing.assert_array_equal(patient_labels(np.array(labels, np.float32)), expected)


class Broken(nn.Module):
    value: ClassVar[float] = NAN

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), K), self.value)


@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf"), 1e30])
def test_a_model_that_diverged_still_gives_one_count_a_class(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "value", value)
    cohort = cohort_of(*random_patients({0: 3, 1: 2}, seed=2))
    for experiment in (SINGLE, MULTI):
        h = patient_histograms(Broken(), cohort, experiment)
        assert (h.positives + h.negatives).sum(axis=1).tolist() == [5, 5, 5]
        if math.isnan(value):
            assert (h.positives + h.negatives)[:, 0].tolist() == [5, 5, 5]


def test_a_patient_with_more_images_than_a_batch_counts_once() -> None:
    cohort = cohort_of(*random_patients({1: 1}, seed=3, images=BATCH + 44))
    h = patient_histograms(Pixels(), cohort, SINGLE)
    assert (h.positives + h.negatives).sum(axis=1).tolist() == [1, 1, 1]


def test_nobody_is_as_private_as_anybody() -> None:
    h = patient_histograms(Pixels(), cohort_of(), SINGLE)
    assert (h.positives.shape, h.positives.sum(), h.negatives.sum()) == ((K, PATIENT_BINS), 0, 0)
    assert np.count_nonzero(add_noise(h, 1.0, SecretStream()).positives) > 20


@pytest.mark.parametrize("noise_multiplier", [0.6, 3.77])
def test_each_cell_has_the_noise_that_was_promised(noise_multiplier: float) -> None:
    exact = Histograms(np.full((400, PATIENT_BINS), 5.0), np.zeros((400, PATIENT_BINS)), 0.0)
    released = add_noise(exact, noise_multiplier, SecretStream())
    std = noise_multiplier * math.sqrt(400)
    assert released.noise_std == pytest.approx(std)
    noise = np.stack([released.positives - exact.positives, released.negatives])
    assert kstest(noise.ravel() / std, "norm").pvalue > 1e-6
    assert noise.std() == pytest.approx(std, rel=0.05)
    assert abs(np.corrcoef(noise.reshape(2, -1))[0, 1]) < 0.1  # 1 / √4000 = 0.016 by chance
    np.testing.assert_array_equal(released.positives % RELEASE_STEP, 0.0)
    assert exact.positives.max() == 5.0  # the argument is left as it was


def test_noise_on_noise_is_stated_as_both() -> None:
    once = add_noise(Histograms.zero(4), 3.0, SecretStream())
    assert add_noise(once, 4.0, SecretStream()).noise_std == pytest.approx(10.0)


@pytest.mark.parametrize("sigma", [0.0, -1.0, NAN, float("inf")])
def test_a_release_without_noise_is_refused(sigma: float) -> None:
    with pytest.raises(PrivacyError, match="above 0"):
        add_noise(Histograms.zero(2), sigma, SecretStream())
