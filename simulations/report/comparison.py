"""Who gains by joining: each model on each site's test patients, and the paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.patches import Rectangle

from common.metrics.text import figure_text
from simulations.report.blocks import Block, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.svg import INK, SERIES, drawing, svg_inline

PALEST, DEEPEST = 0.04, 0.55
"""Opacity of the worst and the best figure: letters stay readable on both."""


def comparison_section(run: FinishedRun) -> Section | None:
    """The matrix of a validation design; ``None`` for a run that stands alone."""
    comparison = run.result.get("comparison")
    if not comparison:
        return None
    blocks: list[Block] = [
        Text(
            f"Macro AUROC of each model on test {comparison['unit']}s of each site. All models are "
            "scored on the same patients, so that differences are paired by patient."
        ),
        _matrix(comparison),
    ]
    differences = tuple(
        (d["test"], d["model"], d["baseline"], figure_text(d["difference"]))
        for d in comparison["differences"]
    )
    if differences:
        columns = ("scored at", "model", "against", "difference and 95% interval")
        caption = "Differences in macro AUROC, paired by patient"
        blocks.append(Table(caption, columns, differences))
    external = tuple((site, figure_text(found)) for site, found in comparison["external"].items())
    if external:
        head = ("site", "macro AUROC of the model trained without it")
        caption = f"External validation: all {comparison['unit']}s of a site that had no part"
        blocks.append(Table(caption, head, external))
    return Section("comparison", "Across sites", tuple(blocks))


def _matrix(comparison: Mapping[str, Any]) -> Plot:
    tests, matrix = comparison["tests"], comparison["matrix"]
    title = "Macro AUROC of each model at each site"
    description = "A row a model, a column a site; the deeper the colour, the higher the figure."
    found = {
        (row, column): figures[test]["value"]
        for row, figures in enumerate(matrix.values())
        for column, test in enumerate(tests)
        if test in figures and figures[test]["value"] is not None
    }
    low, high = min(found.values(), default=0.0), max(found.values(), default=1.0)
    with drawing() as (figure, axes):
        axes.grid(visible=False)
        for (row, column), value in found.items():
            share = (value - low) / (high - low) if high > low else 1.0
            opacity = PALEST + share * (DEEPEST - PALEST)
            cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=SERIES[0], alpha=opacity)
            axes.add_patch(cell)
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=INK, fontsize=9)
        axes.set(xlim=(-0.5, len(tests) - 0.5), ylim=(len(matrix) - 0.5, -0.5))
        axes.set_xticks(range(len(tests)), tests, rotation=45, ha="right")
        axes.set_yticks(range(len(matrix)), list(matrix))
        axes.set(xlabel="scored at", ylabel="model")
        svg = svg_inline(figure, "matrix", title, description)
    rows = tuple(
        (model, *(figure_text(figures.get(test)) for test in tests))
        for model, figures in matrix.items()
    )
    caption = f"{title}, with 95% intervals"
    return Plot("matrix", title, description, svg, Table(caption, ("model", *tests), rows))
