"""The table of utility: which runs stand beside each other, and how their figures are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.compose import load_settings
from common.config import Settings
from simulations.benchmarks.utility import (
    at_home,
    guarantees,
    plan,
    recipes,
    rows,
    table,
    table_at_home,
)
from simulations.designs.arms import pooled
from tests.simulations.conftest import result_of as result_file

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


def steps(settings: Settings) -> int:
    return settings.rounds * settings.local_steps


def test_all_images_in_one_place_are_seen_as_often() -> None:
    private, plain = load_settings([*HAM, "recipe=private"]), load_settings([*HAM, "privacy=none"])
    assert steps(pooled(private, 3)) == steps(private)
    assert steps(pooled(plain, 3)) == 3 * steps(plain)
    assert pooled(private, 3).privacy.public_patients == 850 + 950 + 2200


PRIVACY = {
    "epsilon_run": 7.95, "delta": 1e-5, "unit": "lesion", "adjacency": "add-or-remove-one",
    "accountant": "prv", "composition": "one plan", "assumed_epsilon": 0.0,
}  # fmt: skip


def result_of(seed: int, value: float, **local: float) -> dict[str, Any]:
    def metrics(auroc: float) -> dict[str, Any]:
        figure = {"value": auroc, "low": auroc - 0.01, "high": auroc + 0.01, "support": None}
        return {"auroc_macro": figure, "balanced_accuracy": figure}

    return {
        "seed": seed,
        "metrics": None if local else metrics(value),
        "local_metrics": {site: metrics(auroc) for site, auroc in local.items()} or None,
        "sites": [
            {"name": "east", "privacy": None, "metrics": metrics(value)},
            {"name": "north", "privacy": None, "metrics": metrics(value + 0.1)},
            {"name": "west", "privacy": PRIVACY, "metrics": None},
        ],
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
    home = table_at_home(found).splitlines()
    assert home[0] == "| ε | Model | east | north |"
    assert home[2:] == ["| 8 | ours | 0.800 [0.790, 0.810] | 0.900 [0.890, 0.910] |"]
    said = guarantees(found + rows("none", "ours", {**result_of(0, 0.8), "sites": []}))
    assert said == "\nε=8: at most 7.950, δ=1e-05, unit lesion, add-or-remove-one, prv\n"


def test_models_alone_are_scored_at_home_as_well(simulate: Callable[..., tuple[int, Path]]) -> None:
    """Pooled over the sites, each by its own model: between the figures of the sites themselves."""
    code, folder = simulate("strategy=local", "privacy=none", "rounds=1")
    assert code == 0
    result = result_file(folder)
    home = at_home(folder, result)
    assert home["auroc_macro"]["low"] < home["auroc_macro"]["value"] < home["auroc_macro"]["high"]
    accuracy = [site["metrics"]["accuracy"]["value"] for site in result["sites"]]
    assert min(accuracy) <= home["accuracy"]["value"] <= max(accuracy)
    arms = [row["arm"] for row in rows("none", "alone", result, home)]
    assert arms == ["alone: northfield", "alone: southgate", "alone, each at home"]
