"""How well the model does on test patients: figures with intervals, a table a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.metrics.text import bin_error_text, class_rows, left_out_text, overall_rows, point_rows
from common.metrics.thresholds import Wanted
from common.schema import narrow
from simulations.report.blocks import Block, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.text import pool_text


def performance_section(run: FinishedRun) -> Section:
    """The figures of each model, pooled over the sites' test patients."""
    blocks: list[Block] = []
    for name, metrics in run.models.items():
        wanted = narrow(Wanted, run.settings.evaluation)
        blocks += _model(name or pool_text(run.result), metrics, wanted)
    if not blocks:
        blocks = [Text("No site released any figure on its test patients.")]
    return Section("performance", "Test figures", tuple(blocks))


def _model(of_whom: str, metrics: Mapping[str, Any], wanted: Wanted) -> list[Block]:
    blocks: list[Block] = [_classes(f"Class by class, {of_whom}", metrics)]
    if "noise_std" in metrics:
        blocks.append(Text(_noise(metrics)))
    else:
        blocks.insert(0, Text(f"Intervals are 95%. {bin_error_text(metrics)}."))
        blocks.insert(1, _summary(f"All classes, {of_whom}", metrics))
        blocks += _points(of_whom, metrics, wanted)
        blocks.append(_confusion(of_whom, metrics))
    left_out = left_out_text(metrics)
    if left_out:
        blocks.append(Text(f"{left_out[0].upper()}{left_out[1:]}."))
    return blocks


def _summary(caption: str, metrics: Mapping[str, Any]) -> Table:
    return Table(caption, ("figure", "value and 95% interval"), tuple(overall_rows(metrics)))


def _classes(caption: str, metrics: Mapping[str, Any]) -> Table:
    head, rows = class_rows(metrics)
    return Table(caption, tuple(head), tuple(map(tuple, rows)))


def _confusion(of_whom: str, metrics: Mapping[str, Any]) -> Table:
    """Truth by decision, in images; of several labels a row each, decided at ½."""
    classes, counted = list(metrics["auroc"]), metrics["confusion"]
    if isinstance(counted[0][0], list):
        head = ("label", "rightly not", "wrongly called", "missed", "rightly called")
        rows = [(name, *here[0], *here[1]) for name, here in zip(classes, counted, strict=True)]
    else:
        head = ("truth \\ decided", *classes)
        rows = [(name, *row) for name, row in zip(classes, counted, strict=True)]
    return Table(f"Truth by decision, in images, {of_whom}", head, tuple(rows))


def _points(of_whom: str, metrics: Mapping[str, Any], wanted: Wanted) -> list[Block]:
    """Sensitivity and specificity at thresholds that were chosen on validation patients."""
    chosen = metrics.get("operating_point")
    if not chosen:
        return []
    if not chosen["fitted_on"]:
        return [Text(f"No threshold was chosen: {chosen['why']}.")]
    return [
        Table(f"{title}, {of_whom}", tuple(head), tuple(map(tuple, rows)))
        for title, head, rows in point_rows(metrics, wanted)
    ]


def _noise(metrics: Mapping[str, Any]) -> str:
    return (
        f"Patients counted under noise of ±{metrics['noise_std']:.1f} on each cell, which the "
        f"intervals hold; bins of the score account for ±{metrics['bin_error'] or 0:.3f}."
    )
