"""What a site's evaluation lets out: one count a patient and class, and no class of a few."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor, nn

from client.cohort import Cohort
from client.evaluation import BATCH, evaluate, image_weights, patient_labels
from client.privacy.entropy import SecretStream
from client.release import RELEASE_STEP, add_noise, noised_names, patient_histograms
from common.checks import parse_experiment
from common.config import Experiment
from common.errors import PrivacyError
from common.histograms import PATIENT_BINS, Histograms, count_patients, patient_bins
from common.metrics import Counts, figures
from common.metrics.bootstrap import draw_patients
from common.metrics.grid import BINS
from common.metrics.scores import log_odds

CLASSES = ("nodule", "cyst", "scar")
K = len(CLASSES)
NAN = float("nan")


def experiment_of(multi_label: bool) -> Experiment:
    return parse_experiment(
        f"""
name: test
seed: 0
rounds: 1
local_steps: 1
threads: 1
data: {{classes: [{", ".join(CLASSES)}], multi_label: {str(multi_label).lower()}, image_size: 16}}
model: {{name: cnn, width: 4}}
strategy: {{batch_size: 4}}
privacy: {{unit: none}}
"""
    )


Patient = list[tuple[list[float], list[int]]]
"""A list of images, each its K labels and its first K pixels."""

SINGLE, MULTI = experiment_of(False), experiment_of(True)


class Pixels(nn.Module):
    """Logits are an image's first K pixels, on a scale of −6 to 6."""

    def forward(self, images: Tensor) -> Tensor:
        return 3.0 * images.flatten(1)[:, :K]


class Gossip(Pixels):
    """A model in which images of one batch change each other, as they do in a batch norm."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits - logits.mean(dim=0)


def cohort_of(*patients: Patient) -> Cohort:
    """A cohort of patients. Row 0 is an image of another part, and has every class."""
    images = [([1.0] * K, [255] * K), *(image for patient in patients for image in patient)]
    pixels = np.zeros((len(images), 1, 16, 16), np.uint8)
    for i, (_, first) in enumerate(images):
        pixels[i, 0, 0, :K] = first
    ends = np.cumsum([1, *(len(patient) for patient in patients)])
    rows = tuple(np.arange(a, b) for a, b in pairwise(ends))
    labels = np.array([label for label, _ in images], np.float32)
    return Cohort(pixels, labels, np.arange(1, len(images)), rows)


def one_hot(k: int) -> list[float]:
    return [float(i == k) for i in range(K)]


def random_patients(counts: dict[int, int], seed: int, images: int = 2) -> list[Patient]:
    """``counts[k]`` patients of class k, with some images each."""
    rng = np.random.default_rng(seed)
    return [
        [(one_hot(k), rng.integers(0, 256, K).tolist()) for _ in range(images)]
        for k, count in counts.items()
        for _ in range(count)
    ]


# --- noised histograms of patients ---------------------------------------------------------------

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


# --- exact counts of images ----------------------------------------------------------------------


def exact(cohort: Cohort, experiment: Experiment, min_count: int) -> tuple[Counts, tuple[str, ...]]:
    release = evaluate(Pixels(), cohort, experiment, min_count)
    assert release is not None
    return release.counts, release.withheld


def assert_same(one: Counts, other: Counts) -> None:
    for name, value in one.to_arrays().items():
        np.testing.assert_array_equal(value, other.to_arrays()[name], err_msg=name)


def test_without_a_minimum_every_image_of_the_part_is_counted() -> None:
    cohort = cohort_of(*random_patients({0: 200, 1: 90}, seed=4))
    counts, withheld = exact(cohort, SINGLE, 0)
    assert withheld == ()
    assert counts.positives.sum(axis=1).tolist() == [400, 180, 0]
    assert counts.negatives.sum(axis=1).tolist() == [180, 400, 580]
    assert counts.confusion.sum() == counts.labels == 580
    assert evaluate(Pixels(), cohort_of(), SINGLE) is None


def test_evaluation_agrees_with_the_scores_of_all_images_at_once() -> None:
    cohort = cohort_of(*random_patients({0: 100, 1: 60, 2: 40}, seed=5))
    images, labels = cohort.batch(cohort.rows)
    logits = Pixels()((images.float() / 255 - 0.5) / 0.25).double()
    log_p = torch.log_softmax(logits, dim=1).numpy()
    truth = labels.argmax(dim=1).numpy()
    counts, _ = exact(cohort, SINGLE, 0)
    assert counts.losses[0, 0] == pytest.approx(-log_p[np.arange(400), truth].sum(), rel=1e-6)
    hits = int((log_p.argmax(axis=1) == truth).sum())
    assert np.trace(counts.confusion) == hits


def test_patients_are_counted_against_the_minimum_not_images() -> None:
    cohort = cohort_of(*random_patients({0: 10, 1: 9, 2: 10}, seed=6, images=5))
    assert exact(cohort, SINGLE, 10)[1] == ("cyst",)
    assert exact(cohort, SINGLE, 9)[1] == ()
    assert exact(cohort, SINGLE, 11)[1] == CLASSES


def test_a_withheld_class_of_a_single_label_task_is_gone_from_every_count() -> None:
    cohort = cohort_of(*random_patients({0: 12, 1: 4, 2: 15}, seed=7))
    counts, withheld = exact(cohort, SINGLE, 10)
    assert withheld == ("cyst",)
    assert counts.positives.sum(axis=1).tolist() == [24, 0, 30]
    assert counts.negatives.sum(axis=1).tolist() == [30, 0, 24]
    assert counts.confusion[1].sum() == 0
    assert counts.confusion.sum(axis=1).tolist() == [24, 0, 30]  # the others' errors stay errors
    assert counts.labels == 54
    assert figures(counts, CLASSES)["left_out"] == ["cyst"]


def test_the_count_of_a_withheld_single_label_class_cannot_be_derived() -> None:
    """Whether nobody has the class or as many as may be withheld, the same bytes leave."""
    common = random_patients({0: 12, 2: 15}, seed=8)
    mixed = [(one_hot(0), [90, 10, 30]), (one_hot(2), [10, 20, 200])]
    releases = []
    for few in (0, 1, 5, 8):
        joined = random_patients({1: few}, seed=few)
        extra = [(one_hot(1), [7, 7, 7])] if few else []
        releases.append(exact(cohort_of(*common, *joined, [*mixed, *extra]), SINGLE, 10))
    for counts, withheld in releases:
        assert withheld == ("cyst",)
        assert counts.labels == 2 * 27 + 2
        assert_same(counts, releases[0][0])


def multi_label_patients(
    seed: int, number: int, positives: tuple[int, ...], images: int = 2
) -> list[Patient]:
    """Patients of a multi-label task: the first ``positives[k]`` have class k."""
    rng = np.random.default_rng(seed)
    return [
        [
            ([float(i < positives[k]) for k in range(K)], rng.integers(0, 256, K).tolist())
            for _ in range(images)
        ]
        for i in range(number)
    ]


@pytest.mark.parametrize("few", [0, 9, 31, 40])
def test_a_withheld_class_of_a_multi_label_task_keeps_the_images_for_the_others(few: int) -> None:
    cohort = cohort_of(*multi_label_patients(9, 40, (20, few, 12)))
    counts, withheld = exact(cohort, MULTI, 10)
    assert withheld == ("cyst",)
    assert counts.positives.sum(axis=1).tolist() == [40, 0, 24]
    assert counts.negatives.sum(axis=1).tolist() == [40, 0, 56]
    assert counts.confusion.sum(axis=(1, 2)).tolist() == [80, 0, 80]
    assert counts.labels == 160


def test_the_count_of_a_withheld_multi_label_class_cannot_be_derived() -> None:
    """Neither how many patients have it nor how many labels are known changes a byte."""
    cohorts = [cohort_of(*multi_label_patients(10, 40, (20, n, 12))) for n in (0, 3, 9, 31, 40)]
    releases = [exact(cohort, MULTI, 10) for cohort in cohorts]
    cohort = cohorts[1]
    labels = cohort.labels.copy()
    labels[5:, 1] = np.nan
    releases.append(exact(replace(cohort, labels=labels), MULTI, 10))
    for counts, withheld in releases:
        assert withheld == ("cyst",)
        assert_same(counts, releases[0][0])
    assert labels[:5, 1].tolist() == [1.0] * 5  # the caller's labels are left as they were


def test_everything_withheld_is_zero() -> None:
    for experiment in (SINGLE, MULTI):
        counts, withheld = exact(cohort_of(*random_patients({0: 3, 1: 3}, 11)), experiment, 10)
        assert withheld == CLASSES
        nothing = replace(Counts.zero(K, experiment.multi_label), sites=np.ones(1, np.int64))
        assert_same(counts, nothing)


def test_released_counts_pass_the_checks_of_the_wire() -> None:
    cohort = cohort_of(*random_patients({0: 12, 1: 4, 2: 15}, seed=12))
    for experiment in (SINGLE, MULTI):
        counts, _ = exact(cohort, experiment, 10)
        assert counts.positives.shape == (K, BINS)
        Counts.from_arrays(counts.to_arrays(), K, experiment.multi_label)
    h = add_noise(patient_histograms(Pixels(), cohort, SINGLE), 0.6, SecretStream())
    Histograms.from_arrays(h.to_arrays(), K)


def test_every_figure_is_named() -> None:
    """Each field of what leaves has its name in the disclosure log."""
    cohort = cohort_of(*random_patients({0: 12, 1: 4, 2: 15}, seed=13))
    single = evaluate(Pixels(), cohort, SINGLE, 10, draw=("key", "site"))
    assert single is not None
    assert single.names(CLASSES) == [
        "positives of nodule by score",
        "negatives of nodule by score",
        "positives of scar by score",
        "negatives of scar by score",
        "confusion matrix",
        "AUROC and average precision of nodule, exact",
        "AUROC and average precision of scar, exact",
        "AUROC and average precision of all classes, exact",
        "right and wrong decisions by certainty",
        "reliability by probability",
        "log loss",
        "log loss by temperature",
        "Brier score",
        "number of labels",
        "200 bootstrap replicates of the counts, reliability, log loss and Brier score",
    ]
    assert set(single.counts.to_arrays()) == {
        "positives", "negatives", "confusion", "in_one_bin", "precision", "confidence",
        "reliability", "losses", "temperatures", "sites",
    }  # fmt: skip
    multi = evaluate(Pixels(), cohort, MULTI)
    assert multi is not None
    assert {f"confusion of {name}" for name in CLASSES} < set(multi.names(CLASSES))
    assert "confusion matrix" not in multi.names(CLASSES)
    assert not any("replicates" in name for name in multi.names(CLASSES))
    noised = noised_names(CLASSES)
    assert len(noised) == 2 * K
    assert noised[0] == "noised positives of nodule by score, of patients"


def test_images_of_a_patient_are_drawn_together() -> None:
    cohort = cohort_of(*random_patients({0: 3, 2: 2}, seed=14, images=3))
    drawn = draw_patients("key", "site test", 5, 40)
    weights = image_weights(cohort, drawn)
    assert weights.shape == (40, 15)
    assert (weights.sum(axis=1) == 15).all()
    for patient, rows in enumerate(cohort.patients):
        assert (weights[:, rows - 1] == drawn[:, [patient]]).all()


def test_two_models_are_compared_on_the_same_draws() -> None:
    """A model that scores as another does differs from it in no replicate."""
    cohort = cohort_of(*random_patients({0: 12, 1: 14}, seed=15))
    releases = [evaluate(Pixels(), cohort, SINGLE, draw=("key", "site test")) for _ in range(2)]
    other = evaluate(Pixels(), cohort, SINGLE, draw=("key", "another test"))
    one, same = (r.replicates for r in releases if r is not None)
    assert one is not None
    assert same is not None
    assert other is not None
    assert other.replicates is not None
    assert (one.cells == same.cells).all()
    assert (one.sums == same.sums).all()
    assert (one.cells != other.replicates.cells).any()


def test_a_withheld_class_is_in_no_replicate() -> None:
    cohort = cohort_of(*random_patients({0: 12, 1: 4, 2: 15}, seed=16))
    for experiment in (SINGLE, MULTI):
        release = evaluate(Pixels(), cohort, experiment, 10, draw=("key", "site test"))
        assert release is not None
        assert release.replicates is not None
        assert release.withheld == ("cyst",)
        replicates = release.replicates.expand(release.counts)
        assert replicates.positives[:, 0].sum() > 0
        assert replicates.positives[:, 1].sum() == 0
        assert replicates.negatives[:, 1].sum() == 0
