"""How well the model does on test patients: figures with intervals, a table a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations.report.blocks import Block, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.text import figure_text


def performance_section(run: FinishedRun) -> Section:
    """The figures of each model, pooled over the sites' test patients."""
    blocks: list[Block] = []
    for name, metrics in run.models.items():
        blocks += _model(name, metrics)
    if not blocks:
        blocks = [Text("No site released any figure on its test patients.")]
    return Section("performance", "Test figures", tuple(blocks))


def _model(name: str, metrics: Mapping[str, Any]) -> list[Block]:
    of_whom = f"model of {name}" if name else "pooled over the sites"
    blocks: list[Block] = [_classes(of_whom, metrics)]
    if "noise_std" in metrics:
        blocks.append(Text(_noise(metrics)))
    else:
        blocks.insert(0, _summary(of_whom, metrics))
        blocks.append(
            Text(
                f"Scores are counted on a grid, so that AUROC is exact to "
                f"±{metrics['bin_error'] or 0:.1e}. Intervals are 95%."
            )
        )
    if metrics["left_out"]:
        left_out = ", ".join(metrics["left_out"])
        blocks.append(Text(f"Left out of the macro figure for want of support: {left_out}."))
    return blocks


def _summary(of_whom: str, metrics: Mapping[str, Any]) -> Table:
    names = {
        "auroc_macro": "macro AUROC",
        "auprc_macro": "macro AUPRC",
        "balanced_accuracy": "balanced accuracy",
        "log_loss": "log loss",
    }
    rows = tuple((title, figure_text(metrics[key])) for key, title in names.items())
    return Table(f"All classes, {of_whom}", ("figure", "value and 95% interval"), rows)


def _classes(of_whom: str, metrics: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            name,
            figure["support"]["positives"],
            figure["support"]["negatives"],
            figure_text(figure),
            figure_text(metrics.get("auprc", {}).get(name)),
        )
        for name, figure in metrics["auroc"].items()
    )
    head = ("class", "positives", "negatives", "AUROC", "AUPRC")
    return Table(f"Class by class, {of_whom}", head, rows)


def _noise(metrics: Mapping[str, Any]) -> str:
    return (
        f"Patients counted under noise of ±{metrics['noise_std']:.1f} on each cell, which the "
        f"intervals hold; bins of the score account for ±{metrics['bin_error'] or 0:.3f}."
    )
