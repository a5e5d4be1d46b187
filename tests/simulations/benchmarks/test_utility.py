"""The table of utility: which runs stand beside each other, and how their figures are told."""

from __future__ import annotations

from typing import Any

import pytest

from common.compose import load_settings
from simulations.benchmarks.utility import plan, recipes, rows, table
from simulations.designs.arms import pooled

HAM = ("experiment=ham10000", "data.root=somewhere")


def test_the_plan_has_repeats_where_they_are_asked_for() -> None:
    assert list(plan(["8", "1"], 2)) == [("8", 0), ("8", 1), ("1", 0)]


@pytest.mark.parametrize("epsilon", ["8", "none"])
def test_both_recipes_have_one_budget(epsilon: str) -> None:
    found = recipes(epsilon, HAM)
    assert {s.privacy.enabled for s in found} == {epsilon != "none"}
    if epsilon != "none":
        assert {s.privacy.epsilon for s in found} == {8.0}
    plain, ours = found
    assert (plain.model.name, plain.strategy.batch_size) == ("cnn", 64)
    assert ours.model.name == ("cnn" if epsilon == "none" else "scatter")
    assert ours.keep == "average"
    assert {s.seed for s in found} == {0}


def test_all_images_in_one_place_are_seen_as_often() -> None:
    private, plain = load_settings([*HAM, "recipe=private"]), load_settings([*HAM, "privacy=none"])
    assert pooled(private, 3).local_steps == private.rounds * private.local_steps
    assert pooled(plain, 3).local_steps == 3 * plain.rounds * plain.local_steps
    assert pooled(private, 3).privacy.public_patients == 850 + 950 + 2200


def result_of(seed: int, value: float, **local: float) -> dict[str, Any]:
    def metrics(auroc: float) -> dict[str, Any]:
        figure = {"value": auroc, "low": auroc - 0.01, "high": auroc + 0.01, "support": None}
        return {"auroc_macro": figure, "balanced_accuracy": figure}

    return {
        "seed": seed,
        "metrics": None if local else metrics(value),
        "local_metrics": {site: metrics(auroc) for site, auroc in local.items()},
        "seconds": {"total": 60.0 + seed},
        "versions": {},
    }


def test_the_table_has_the_first_seeds_interval_and_all_seeds() -> None:
    found = rows("8", "ours", result_of(0, 0.8)) + rows("8", "ours", result_of(1, 0.9))
    found += rows("8", "alone", result_of(0, 0, east=0.7, west=0.6))
    lines = table(found).splitlines()
    assert lines[2].startswith("| 8 | ours | 0.800 [0.790, 0.810] |")
    assert "| 0.800 0.900; mean 0.850 | 60 |" in lines[2]
    assert [line.split(" | ")[1] for line in lines[3:]] == ["alone: east", "alone: west"]
