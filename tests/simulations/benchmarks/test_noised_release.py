"""What is simulated has the AUROC that is said, and noise hides few patients before many."""

from __future__ import annotations

import pytest

from common.histograms import histogram_figures
from simulations.benchmarks.noised_release import cost, draw


@pytest.mark.parametrize("classes", [2, 7])
def test_scores_have_the_auroc_that_is_said_but_for_the_bins(classes: int) -> None:
    names = tuple(map(str, range(classes)))
    found = histogram_figures(draw(classes, 70_000, 0), names)["auroc_macro"]["value"]
    assert 0.8 - 0.03 < found < 0.8 + 0.005


def test_noise_hides_few_patients_and_hardly_moves_many() -> None:
    few, many = cost(2, 20, 0.5, 5), cost(2, 2_000, 8.0, 5)
    assert few.hidden == 1
    assert few.mean is None
    assert many.hidden == 0
    assert many.mean is not None
    assert abs(many.mean) < 0.01
