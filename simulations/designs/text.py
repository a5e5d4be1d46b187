"""A comparison as people read it: in a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from common.metrics.text import figure_text
from simulations.markdown import markdown_table


def table(comparison: Mapping[str, Any]) -> Table:
    """Rows are models, columns whose test patients they are scored on."""
    title = f"{comparison['design']}: macro AUROC on test {comparison['unit']}s"
    shown = Table("model \\ scored at", *comparison["tests"], title=title)
    for row in _rows(comparison):
        shown.add_row(*row)
    for line in findings(comparison):
        shown.caption = f"{shown.caption}\n{line}" if shown.caption else line
    return shown


def markdown(comparison: Mapping[str, Any]) -> str:
    """The same table, and each finding as a line."""
    text = markdown_table(["model, scored at", *comparison["tests"]], _rows(comparison))
    return text + "\n" + "".join(f"- {line}\n" for line in findings(comparison))


def findings(comparison: Mapping[str, Any]) -> list[str]:
    """Each paired difference in words, with its interval; then what external validation found."""
    paired = [
        f"at {d['test']}: {d['model']} − {d['baseline']} = {figure_text(d['difference'])}"
        for d in comparison["differences"]
    ]
    return paired + [
        f"trained without {site}, on all its {comparison['unit']}s: {figure_text(found)}"
        for site, found in comparison["external"].items()
    ]


def _rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    return [
        [model, *(figure_text(figures.get(test)) for test in comparison["tests"])]
        for model, figures in comparison["matrix"].items()
    ]
