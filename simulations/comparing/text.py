"""A comparison as people read it: the same tables for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from common.metrics.text import OVERALL, figure_text
from simulations.markdown import markdown_table


@dataclass(frozen=True)
class TextTable:
    """Cells as text.

    Attributes:
        title: what they are.
        head: a heading for each column.
        rows: one a line.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> Table:
        table = Table(*map(escape, self.head), title=escape(self.title), title_justify="left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        return f"**{self.title}**\n\n{markdown_table(self.head, self.rows)}"


def tables(comparison: Mapping[str, Any]) -> list[TextTable]:
    """What the methods are; their differences by patient; and the spread over seeds."""
    several = any(len(method["runs"]) > 1 for method in comparison["methods"])
    return [
        _methods(comparison),
        *(_difference(found, comparison["unit"]) for found in comparison["differences"]),
        *([_spread(comparison)] if several else []),
    ]


def _methods(comparison: Mapping[str, Any]) -> TextTable:
    rows = [
        (
            method["runs"][0],
            ", ".join(map(str, method["seeds"])),
            " ".join(f"{k}={v}" for k, v in method["settings"].items()) or "one method alone",
        )
        for method in comparison["methods"]
    ]
    head = ("first run", "seeds", "set apart by")
    return TextTable("Methods: runs of the same settings", head, tuple(rows))


def _difference(found: Mapping[str, Any], unit: str) -> TextTable:
    """Rows are figures, columns pairs of runs."""
    pairs = found["pairs"]
    rows = [(OVERALL[n], *(figure_text(p["pooled"][n]) for p in pairs)) for n in OVERALL]
    for part, title in (("auroc", "AUROC of {}"), ("sites", "macro AUROC at {}")):
        rows += [
            (title.format(name), *(figure_text(p[part][name]) for p in pairs))
            for name in pairs[0][part]
        ]
    title = f"{found['method']} − {found['baseline']}, paired by {unit}, 95% intervals"
    return TextTable(title, ("figure", *map(_seeds, pairs)), tuple(rows))


def _seeds(pair: Mapping[str, Any]) -> str:
    one, other = pair["seeds"]
    return f"seed {one}" if one == other else f"seed {one} − seed {other}"


def _spread(comparison: Mapping[str, Any]) -> TextTable:
    """A column for each method, over its runs, and for each difference, over its pairs."""
    whose = {method["runs"][0]: method["spread"] for method in comparison["methods"]}
    whose |= {f"{d['method']} − {d['baseline']}": d["spread"] for d in comparison["differences"]}
    rows = [
        (OVERALL[n], *(_spread_text(found.get(n)) for found in whose.values())) for n in OVERALL
    ]
    title = "Spread over seeds on the same patients: mean ± sd (min to max)"
    return TextTable(title, ("figure", *whose), tuple(rows))


def _spread_text(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "none"
    if found["sd"] is None:
        return f"{found['mean']:.3f} (one run)"
    return f"{found['mean']:.3f} ± {found['sd']:.3f} ({found['min']:.3f} to {found['max']:.3f})"
