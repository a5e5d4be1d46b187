"""Figures as people read them: with interval and support, all together and class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from common.metrics.thresholds import Wanted

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
POINTS = {"at_specificity": "specificity", "at_sensitivity": "sensitivity"}
"""Kinds of thresholds, and what each aims at."""


def figure_text(figure: Mapping[str, Any] | None) -> str:
    """``0.897 [0.870, 0.925]``; without interval where there is none, ``none`` without value."""
    if figure is None or figure["value"] is None:
        return "none"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def overall_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each figure of all classes together that ``metrics`` has."""
    return [(title, figure_text(metrics[key])) for key, title in OVERALL.items() if key in metrics]


def class_rows(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row a class: its name, its images with and without it, its figures."""
    named = {key: title for key, title in BY_CLASS.items() if key in metrics}
    rows = [
        [
            name,
            *(str(figure["support"][side]) for side in ("positives", "negatives")),
            *(figure_text(metrics[key][name]) for key in named),
        ]
        for name, figure in metrics["auroc"].items()
    ]
    return ["class", "positives", "negatives", *named.values()], rows


def class_table(metrics: Mapping[str, Any]) -> Table:
    """The classes for a terminal; those without a figure are named below."""
    head, rows = class_rows(metrics)
    return _table(head, rows, caption=left_out_text(metrics))


def point_parts(metrics: Mapping[str, Any]) -> list[Table | str]:
    """What the operating point gives, for a terminal; nothing where there is none."""
    if "operating_point" not in metrics:
        return []
    wanted = Wanted(**metrics["operating_point"]["wanted"])
    tables = [_table(head, rows, title=title) for title, head, rows in point_rows(metrics, wanted)]
    conformal = [conformal_text(metrics["conformal"], wanted)] if "conformal" in metrics else []
    return [*tables, calibrated_text(metrics["calibrated"]), *conformal]


def _table(
    head: list[str], rows: list[list[str]], title: str | None = None, caption: str | None = None
) -> Table:
    table = Table(
        *map(escape, head), title=title, caption=escape(caption or ""), caption_justify="left"
    )
    for cells in rows:
        table.add_row(*map(escape, cells))
    return table


def point_rows(
    metrics: Mapping[str, Any], wanted: Wanted
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Of each kind of threshold a title, headings, and a row a class; it must have been fitted."""
    point = metrics["operating_point"]
    return [
        (
            f"At thresholds chosen on {point['fitted_on']} for a {rate} of "
            f"{getattr(wanted, rate):g}",
            ["class", "threshold", "sensitivity", "specificity"],
            [
                [
                    name,
                    "none" if thresholds[key] is None else f"{thresholds[key]:.3f}",
                    figure_text(metrics[key]["sensitivity"][name]),
                    figure_text(metrics[key]["specificity"][name]),
                ]
                for name, thresholds in point["thresholds"].items()
            ],
        )
        for key, rate in POINTS.items()
    ]


def calibrated_text(fitted: Mapping[str, Any]) -> str:
    """The losses at the fitted temperature."""
    ece, brier, loss = (figure_text(fitted[name]) for name in ("ece", "brier", "log_loss"))
    return (
        f"Divided by the temperature {fitted['temperature']:.3f}, fitted on validation patients, "
        f"the scores have ECE {ece}, Brier score {brier} and log loss {loss}"
    )


def conformal_text(sets: Mapping[str, Any], wanted: Wanted) -> str:
    """How often a set of answers held the truth, and how many it had."""
    return (
        f"Conformal sets, by a threshold chosen on validation patients for a coverage of "
        f"{wanted.coverage:g}, hold the true answer in {figure_text(sets['coverage'])}, with "
        f"{figure_text(sets['set_size'])} answers each"
    )


def bin_error_text(metrics: Mapping[str, Any]) -> str:
    """How far the grid of scores may put AUROC off; of one site it does not."""
    error = metrics["bin_error"]
    return f"AUROC exact to ±{error:.1e} (grid of scores)" if error else "AUROC exact"


def left_out_text(metrics: Mapping[str, Any]) -> str | None:
    """Which classes are in no macro figure, and why; ``None`` where all are."""
    if not metrics["left_out"]:
        return None
    why = "hidden by the noise" if "noise_std" in metrics else "for want of support"
    return f"left out of the macro figures, {why}: {', '.join(metrics['left_out'])}"
