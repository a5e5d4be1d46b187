"""Figures by sex, age band and other metadata, and the gaps between the groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from common.metrics.group_text import column_note, gap_rows, group_class_rows, group_rows
from simulations.report.blocks import Block, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.svg import INK, legend_below, line_style, panels, svg_inline
from simulations.report.text import of_model

SPREAD = 0.5
"""Of a group's height, what the marks of its classes are spread over."""


def subgroups_section(run: FinishedRun) -> Section | None:
    """Each column that was asked for; ``None`` where none was."""
    blocks: list[Block] = []
    for number, (model, metrics) in enumerate(run.models.items()):
        for place, (name, column) in enumerate(metrics.get("subgroups", {}).items()):
            note = column_note(name, column)
            if column["groups"]:
                of = f"{name}{of_model(model)}"
                blocks += _column(f"subgroups-{number}-{place}", of, column)
            if note:
                blocks.append(Text(note))
    if not blocks:
        return None
    text = (
        "The figures of all patients, told for each group by itself. A gap is the highest "
        "group's figure less the lowest's. Between many small groups some gap is there by chance: "
        "its interval says how much of it the patients drawn could account for."
    )
    return Section("subgroups", "Subgroups", (Text(text), *blocks))


def _column(key: str, name: str, column: Mapping[str, Any]) -> list[Block]:
    captions = {
        f"Class by class, by {name}": group_class_rows(column),
        f"Gaps, by {name}": gap_rows(column),
    }
    tables = [Table(caption, head, tuple(rows)) for caption, (head, rows) in captions.items()]
    return [_plot(key, name, column), *tables]


def _plot(key: str, name: str, column: Mapping[str, Any]) -> Plot:
    title = f"Macro AUROC and false-negative rates by {name}"
    description = (
        "A row a group. On the left its macro AUROC, on the right the false-negative rate of each "
        "class, each as a point with its 95% interval where there is one."
    )
    groups = column["groups"]
    labels = list(column["gaps"]["false_negative_rate"])
    with panels(2) as (figure, (left, right)):
        _points(left, [found["auroc_macro"] for found in groups.values()], 0.0, INK, None)
        for number, label in enumerate(labels):
            shift = SPREAD * ((number + 0.5) / len(labels) - 0.5)
            rates = [found["false_negative_rate"][label] for found in groups.values()]
            _points(right, rates, shift, line_style(number)["color"], label)
        left.set(xlim=(-0.02, 1.02), ylim=(len(groups) - 0.5, -0.5))
        left.set_yticks(range(len(groups)), list(groups))
        left.set_xlabel("macro AUROC")
        right.set_xlabel("false-negative rate")
        legend_below(figure)
        svg = svg_inline(figure, key, title, description)
    head, rows = group_rows(column)
    return Plot(key, title, description, svg, Table(f"All classes, by {name}", head, tuple(rows)))


def _points(
    axes: Axes, figures: list[Mapping[str, Any]], shift: float, colour: str, label: str | None
) -> None:
    """A point a group, with its interval."""
    known = [(row + shift, f) for row, f in enumerate(figures) if f["value"] is not None]
    values = [f["value"] for _, f in known]
    low = [0.0 if f["low"] is None else max(0.0, f["value"] - f["low"]) for _, f in known]
    high = [0.0 if f["low"] is None else max(0.0, f["high"] - f["value"]) for _, f in known]
    axes.errorbar(
        values, [row for row, _ in known], xerr=(low, high), fmt="o", markersize=4, capsize=2,
        color=colour, label=label,
    )  # fmt: skip
