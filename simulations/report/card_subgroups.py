"""The model card's part on groups of metadata, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.metrics.group_text import BY_CLASS, OVERALL, gaps_of
from simulations.report.card_parts import Facts, bare, nested
from simulations.report.run import FinishedRun
from simulations.report.text import of_model


def subgroup_facts(run: FinishedRun) -> Facts:
    """Figures by group of metadata and the gaps between groups; supports where they may be told."""
    columns = {
        f"{name}{of_model(model)}": column
        for model, metrics in run.models.items()
        for name, column in metrics.get("subgroups", {}).items()
    }
    if not columns:
        return {"statement": "not evaluated by any column of metadata"}
    return {name: _column(column, not run.private_sites) for name, column in columns.items()}


def _column(column: Mapping[str, Any], with_support: bool) -> Facts:
    """The figures of one column's groups, and at which sites they are counted."""
    groups: Facts = {}
    for name, found in column["groups"].items():
        groups[name] = {key: nested(found[key]) for key in (*OVERALL, *BY_CLASS)}
        if with_support:
            groups[name]["support"] = {c: f["support"] for c, f in found["auroc"].items()}
    gaps = {
        title + (f", {gap['highest']} less {gap['lowest']}" if gap["highest"] else ""): bare(gap)
        for title, gap in gaps_of(column)
        if gap["value"] is not None
    }
    return {"sites": column["sites"], "groups": groups, "gaps": gaps}
