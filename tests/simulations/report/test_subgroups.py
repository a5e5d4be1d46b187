"""The section on subgroups: groups beside each other, gaps, and who does not count by a column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulations.report.run import FinishedRun
from simulations.report.subgroups import subgroups_section
from tests.simulations.report.test_sections import figure, plots, tables


def column(**changes: Any) -> dict[str, Any]:
    """``subgroups`` by sex: two groups, of which one has no AUROC."""

    def group(value: float) -> dict[str, Any]:
        rates = {"nodule": figure(value), "infiltrate": figure(value)}
        support = {"positives": 12, "negatives": 30}
        auroc = {name: one | {"support": support} for name, one in rates.items()}
        return {
            "auroc_macro": figure(value), "balanced_accuracy": figure(value), "auroc": auroc,
            "false_negative_rate": rates, "specificity": rates, "accuracy": figure(value),
            "left_out": [],
        }  # fmt: skip

    gap = figure(0.2) | {"support": {"groups": ["F", "M"]}, "highest": "F", "lowest": "M"}
    few = {"value": None, "low": None, "high": None, "support": {"groups": ["F"]},
           "highest": None, "lowest": None}  # fmt: skip
    gaps = {name: {"nodule": gap, "infiltrate": few} for name in ("auroc", "false_negative_rate")}
    return {
        "sites": {"a": "shown", "b": "withheld", "c": "absent"},
        "groups": {"F": group(0.8), "M": group(0.6)},
        "without_support": ["unknown"],
        "gaps": gaps | {"specificity": {}, "auroc_macro": gap, "balanced_accuracy": gap},
        **changes,
    }


def test_groups_stand_beside_each_other_with_their_gaps(
    changed: Callable[..., FinishedRun],
) -> None:
    section = subgroups_section(
        changed(lambda facts: facts["metrics"].update(subgroups={"sex": column()}))
    )
    (plot,) = plots(section)
    assert [row[0] for row in plot.table.rows] == ["F", "M"]
    classes, gaps = tables(section)
    assert classes.rows[1][:4] == ("nodule", "M", "12", "30")
    assert gaps.rows[0] == ("macro AUROC", "0.200 [0.150, 0.250]", "F", "M", "")
    assert gaps.rows[3] == ("AUROC of infiltrate", "none", "", "", "M")
    text = str(section)
    assert "withheld by the policy of b; not kept at c; no image is counted of unknown" in text


def test_where_no_site_counts_by_a_column_the_page_says_so(
    changed: Callable[..., FinishedRun],
) -> None:
    nobody = column(sites={"a": "withheld"}, groups={}, without_support=[])
    section = subgroups_section(
        changed(lambda facts: facts["metrics"].update(subgroups={"sex": nobody}))
    )
    assert plots(section) == tables(section) == []
    assert "sex: withheld by the policy of a." in str(section)
    none = changed(lambda facts: facts["metrics"].update(subgroups={}))
    assert subgroups_section(none) is None
