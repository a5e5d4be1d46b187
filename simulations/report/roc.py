"""ROC curves with their bands, a panel a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.metrics.text import figure_text
from simulations.report.blocks import Block, Cell, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.svg import INK, SERIES, panels, svg_inline
from simulations.report.text import of_model

MOST_ROWS = 12
"""Points of a curve that its table shows, evenly spaced; ``result.json`` has them all."""

Curve = Mapping[str, list[Any]]


def roc_section(run: FinishedRun) -> Section | None:
    """Each model's curves; ``None`` where no exact counts were released."""
    blocks: list[Block] = []
    for number, (name, metrics) in enumerate(run.models.items()):
        curves = {c: curve for c, curve in metrics.get("roc", {}).items() if curve["fpr"]}
        if curves:
            blocks.append(_plot(f"roc-{number}", name, curves, metrics["auroc"]))
    if not blocks:
        return None
    text = (
        "Sensitivity against the share of false alarms, over all thresholds. The band is the 95% "
        "interval of the sensitivity at each share of false alarms by itself."
    )
    return Section("roc", "ROC curves", (Text(text), *blocks))


def _plot(
    key: str, name: str, curves: Mapping[str, Curve], auroc: Mapping[str, Mapping[str, Any]]
) -> Plot:
    title = f"ROC{of_model(name)}"
    description = (
        f"A panel for each of {len(curves)} classes: the curve, its band where there is one, and "
        "the diagonal of a model that guesses."
    )
    rows: list[tuple[Cell, ...]] = []
    with panels(len(curves)) as (figure, axes):
        for one, (label, curve) in zip(axes, curves.items(), strict=True):
            one.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=0.8)
            if curve["low"] is not None:
                one.fill_between(
                    curve["fpr"], curve["low"], curve["high"], color=SERIES[0], alpha=0.2,
                    linewidth=0,
                )  # fmt: skip
            one.plot(curve["fpr"], curve["tpr"], color=SERIES[0])
            one.set_title(f"{label}\n{figure_text(auroc[label])}", fontsize=9)
            one.set(xlim=(0, 1), ylim=(0, 1.01), xticks=(0, 0.5, 1), aspect="equal")
            rows += _rows(label, curve)
        figure.supxlabel("share of false alarms (1 − specificity)", fontsize=10)
        figure.supylabel("sensitivity", fontsize=10)
        svg = svg_inline(figure, key, title, description)
    head = ("class", "share of false alarms", "sensitivity")
    return Plot(key, title, description, svg, Table(title, head, tuple(rows)))


def _rows(label: str, curve: Curve) -> list[tuple[Cell, ...]]:
    last = len(curve["fpr"]) - 1
    some = sorted({round(i * last / (MOST_ROWS - 1)) for i in range(MOST_ROWS)})
    ends: tuple[list[Any], list[Any]] = curve["low"], curve["high"]
    rows: list[tuple[Cell, ...]] = []
    for i in some:
        low, high = (None, None) if ends[0] is None else (ends[0][i], ends[1][i])
        sensitivity = figure_text({"value": curve["tpr"][i], "low": low, "high": high})
        rows.append((label, f"{curve['fpr'][i]:.3f}", sensitivity))
    return rows
