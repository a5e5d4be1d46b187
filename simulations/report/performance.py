"""How well the model does on test patients: figures with intervals, a table a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations.report.blocks import Block, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.text import figure_text

OVERALL = {
    "auroc_macro": "macro AUROC",
    "auroc_micro": "micro AUROC",
    "auprc_macro": "macro AUPRC",
    "auprc_micro": "micro AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro F1",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "log_loss": "log loss",
}
BY_CLASS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
}
POINTS = {
    "at_specificity": "At the wanted specificity",
    "at_sensitivity": "At the wanted sensitivity",
}


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
    blocks: list[Block] = [_classes(f"Class by class, {of_whom}", metrics)]
    if "noise_std" in metrics:
        blocks.append(Text(_noise(metrics)))
    else:
        blocks.insert(0, _summary(f"All classes, {of_whom}", metrics))
        blocks += _points(of_whom, metrics)
        blocks.append(
            Text(
                "Intervals are 95%. Scores are counted on a grid, so that AUROC is exact to "
                f"±{metrics['bin_error'] or 0:.1e}."
            )
        )
    if metrics["left_out"]:
        left_out = ", ".join(metrics["left_out"])
        blocks.append(Text(f"Left out of the macro figures for want of support: {left_out}."))
    return blocks


def _summary(caption: str, metrics: Mapping[str, Any]) -> Table:
    rows = tuple(
        (title, figure_text(metrics[key])) for key, title in OVERALL.items() if key in metrics
    )
    return Table(caption, ("figure", "value and 95% interval"), rows)


def _classes(caption: str, metrics: Mapping[str, Any]) -> Table:
    named = {key: title for key, title in BY_CLASS.items() if key in metrics}
    rows = tuple(
        (
            name,
            figure["support"]["positives"],
            figure["support"]["negatives"],
            *(figure_text(metrics[key][name]) for key in named),
        )
        for name, figure in metrics["auroc"].items()
    )
    return Table(caption, ("class", "positives", "negatives", *named.values()), rows)


def _points(of_whom: str, metrics: Mapping[str, Any]) -> list[Block]:
    """Sensitivity and specificity at thresholds that were chosen on validation patients."""
    chosen = metrics.get("operating_point")
    if not chosen:
        return []
    if not chosen["fitted_on"]:
        return [Text(f"No threshold was chosen: {chosen['why']}.")]
    return [
        Table(
            f"{title}, by a threshold chosen on {chosen['fitted_on']}, {of_whom}",
            ("class", "threshold", "sensitivity", "specificity"),
            tuple(
                (
                    name,
                    "none" if thresholds[key] is None else f"{thresholds[key]:.3f}",
                    figure_text(metrics[key]["sensitivity"][name]),
                    figure_text(metrics[key]["specificity"][name]),
                )
                for name, thresholds in chosen["thresholds"].items()
            ),
        )
        for key, title in POINTS.items()
    ]


def _noise(metrics: Mapping[str, Any]) -> str:
    return (
        f"Patients counted under noise of ±{metrics['noise_std']:.1f} on each cell, which the "
        f"intervals hold; bins of the score account for ±{metrics['bin_error'] or 0:.3f}."
    )
