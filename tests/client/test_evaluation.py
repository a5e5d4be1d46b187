"""Exact counts of images: what a site lets out, and no class of a few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.cohort import Cohort
from client.evaluation import evaluate, image_weights
from client.privacy.entropy import SecretStream
from client.release import add_noise, noised_names, patient_histograms
from common.config import Experiment
from common.histograms import Histograms
from common.metrics import Counts, figures
from common.metrics.bootstrap import draw_patients
from common.metrics.grid import BINS
from tests.client.scoring import (
    CLASSES,
    MULTI,
    SINGLE,
    K,
    Patient,
    Pixels,
    cohort_of,
    one_hot,
    random_patients,
)


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
        "Brier score",
        "number of labels",
        "log loss by temperature",
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
