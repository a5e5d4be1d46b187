"""Sections that stand where a run has something for them, and what they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import binomtest

from simulations.report.blocks import Plot, Section, Table
from simulations.report.calibration import calibration_section, wilson
from simulations.report.comparison import comparison_section
from simulations.report.performance import performance_section
from simulations.report.roc import roc_section
from simulations.report.run import FinishedRun


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "support": 9}


def plots(section: Section | None) -> list[Plot]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Plot)]


def tables(section: Section | None) -> list[Table]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Table)]


@pytest.mark.parametrize(("hits", "number"), [(0, 5), (5, 5), (1, 3), (70, 200)])
def test_intervals_of_shares_are_wilsons(hits: int, number: int) -> None:
    found = binomtest(hits, number).proportion_ci(0.95, "wilson")
    assert wilson(hits / number, number) == pytest.approx((found.low, found.high), abs=1e-6)


@pytest.mark.parametrize("hits", ["none", "all"])
def test_no_interval_leaves_out_its_own_share(hits: str) -> None:
    share = {"none": 0.0, "all": 1.0}[hits]
    ends = [wilson(share, number) for number in range(1, 2000)]
    assert all(low <= share <= high for low, high in ends)


def test_a_run_alone_has_no_comparison(changed: Callable[..., FinishedRun]) -> None:
    assert comparison_section(changed()) is None


def test_each_model_stands_at_each_site_with_its_interval(
    changed: Callable[..., FinishedRun],
) -> None:
    missing = {"value": None, "low": None, "high": None, "support": 0}

    def result(facts: dict[str, Any]) -> None:
        facts["comparison"] = {
            "design": "cross_site",
            "unit": "patient",
            "tests": ["a", "b"],
            "matrix": {"federation": {"a": figure(0.8), "b": figure(0.7)},
                       "a alone": {"a": missing}},
            "differences": [
                {"test": "a", "model": "federation", "baseline": "a alone",
                 "difference": figure(0.125)}
            ],
            "external": {"b": figure(0.6)},
        }  # fmt: skip

    section = comparison_section(changed(result))
    (plot,) = plots(section)
    assert plot.table.rows == (
        ("federation", "0.800 [0.750, 0.850]", "0.700 [0.650, 0.750]"),
        ("a alone", "none", "none"),
    )
    assert plot.svg.count("0.800") == plot.svg.count("0.700") == 1
    differences, external = tables(section)
    assert differences.rows == (("a", "federation", "a alone", "0.125 [0.075, 0.175]"),)
    assert external.rows == (("b", "0.600 [0.550, 0.650]"),)


def test_reliability_has_a_point_with_its_interval_for_each_bin_that_holds_any(
    changed: Callable[..., FinishedRun],
) -> None:
    bins = [
        {"from": 0.0, "to": 0.5, "probability": 0.3, "came_true": 0.25, "support": 8},
        {"from": 0.5, "to": 1.0, "probability": None, "came_true": None, "support": 0},
    ]

    def result(facts: dict[str, Any]) -> None:
        facts["metrics"] |= {"reliability": bins, "abstention": []}
        facts["metrics"].pop("calibrated", None)

    (plot,) = plots(calibration_section(changed(result)))
    low, high = wilson(0.25, 8)
    came_true = f"0.250 [{low:.3f}, {high:.3f}]"
    assert plot.table.rows == (("as trained", "0.00 to 0.50", 8, "0.300", came_true),)


def test_a_roc_panel_stands_for_each_class_that_has_a_curve(
    changed: Callable[..., FinishedRun],
) -> None:
    nothing = {"fpr": [], "tpr": [], "low": None, "high": None}
    curve = {"fpr": [0, 0.5, 1], "tpr": [0, 0.75, 1], "low": [0, 0.6, 1], "high": [0, 0.9, 1]}

    def result(facts: dict[str, Any]) -> None:
        facts["metrics"]["roc"] = {"nodule": curve, "infiltrate": nothing}

    (plot,) = plots(roc_section(changed(result)))
    assert plot.table.rows[1] == ("nodule", "0.500", "0.750 [0.600, 0.900]")
    assert "infiltrate" not in plot.svg


def test_thresholds_come_with_where_they_were_chosen_or_why_not(
    changed: Callable[..., FinishedRun],
) -> None:
    rates = {"sensitivity": {"nodule": figure(0.5)}, "specificity": {"nodule": figure(0.9)}}
    point: dict[str, Any] = {
        "fitted_on": "validation patients",
        "thresholds": {"nodule": {"at_specificity": 0.25, "at_sensitivity": None}},
    }

    def result(facts: dict[str, Any]) -> None:
        facts["metrics"] |= {"operating_point": point, "at_specificity": rates}
        facts["metrics"]["at_sensitivity"] = rates

    rows = [table.rows for table in tables(performance_section(changed(result)))]
    assert (("nodule", "0.250", "0.500 [0.450, 0.550]", "0.900 [0.850, 0.950]"),) in rows
    assert (("nodule", "none", "0.500 [0.450, 0.550]", "0.900 [0.850, 0.950]"),) in rows
    point |= {"fitted_on": None, "why": "nothing was released"}
    section = performance_section(changed(result))
    assert any("nothing was released" in str(block) for block in section.blocks)


def test_truth_by_decision_stands_for_one_label_and_for_several(
    changed: Callable[..., FinishedRun],
) -> None:
    run = changed()
    table = next(t for t in tables(performance_section(run)) if t.caption.startswith("Truth by"))
    metrics = run.result["metrics"]
    for name, *counted in table.rows:
        support = metrics["auroc"][name]["support"]
        assert sum(counted[:2]) == support["negatives"]
        assert sum(counted[2:]) == support["positives"]
        found = counted[3] / support["positives"]
        assert found == pytest.approx(metrics["sensitivity"][name]["value"])

    def result(facts: dict[str, Any]) -> None:
        facts["metrics"]["confusion"] = [[5, 2], [1, 7]]

    one = next(t for t in tables(performance_section(changed(result))) if "Truth" in t.caption)
    assert one.head == ("truth \\ decided", "nodule", "infiltrate")
    assert one.rows == (("nodule", 5, 2), ("infiltrate", 1, 7))
