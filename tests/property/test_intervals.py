"""Intervals cover at their rate: 1,000 seeded draws of patients whose true figures are known."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from numpy.typing import NDArray

from common.metrics import Counts, Scored, count, count_replicates, figures
from common.metrics.bootstrap import draw_patients

DRAWS, REPLICATES, SITES = 1000, 60, 2
POSITIVES, NEGATIVES = 60, 140
MARGINAL = ("balanced_accuracy", "brier", "log_loss", "mcc", "accuracy")
CLASS = ("auroc", "auprc", "sensitivity", "specificity", "f1")


def images_of(
    rng: np.random.Generator, patients: int, share: float
) -> tuple[Scored, NDArray[np.int64]]:
    """One to three images a patient, whose scores are alike, and each image's patient."""
    sick = rng.random(patients) < share
    own = rng.normal(0, 0.8, patients)
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    odds = own[patient] + rng.normal(0, 0.8, len(patient)) + 1.6 * sick[patient] - 0.8
    labels = sick[patient].astype(np.float32)
    return Scored(odds[:, None], labels[:, None], multi_label=True), patient


def one_draw(rng: np.random.Generator, number: int) -> tuple[Counts, Counts]:
    """The merged counts of two sites, and their replicates."""
    sites = []
    patients, share = (POSITIVES + NEGATIVES) // SITES, POSITIVES / (POSITIVES + NEGATIVES)
    for site in range(SITES):
        scored, patient = images_of(rng, patients, share)
        drawn = draw_patients("key", f"{site} {number}", patients, REPLICATES)
        sites.append((count(scored), count_replicates(scored, drawn[:, patient])))
    counts, replicates = (reduce(add, parts) for parts in zip(*sites, strict=True))
    return counts, replicates


@pytest.fixture(scope="module")
def coverage() -> dict[str, float]:
    """The share of draws whose interval holds the truth, by figure."""
    rng = np.random.default_rng(0)
    population, _ = images_of(rng, 1_000_000, POSITIVES / (POSITIVES + NEGATIVES))
    truth = figures(count(population), ("a",))
    held = dict.fromkeys((*MARGINAL, *CLASS), 0)
    draws = 0
    while draws < DRAWS:
        counts, replicates = one_draw(rng, draws)
        if counts.positives.sum() < 50:
            continue
        draws += 1
        found = figures(counts, ("a",), replicates)
        for name in held:
            one, true = found[name], truth[name]
            if name in CLASS:
                one, true = one["a"], true["a"]
            held[name] += one["low"] <= true["value"] <= one["high"]
    return {name: number / DRAWS for name, number in held.items()}


@pytest.mark.parametrize("name", [*MARGINAL, *CLASS])
def test_an_interval_covers_at_its_rate(coverage: dict[str, float], name: str) -> None:
    assert 0.925 <= coverage[name] <= 0.975
