"""Figures by group of metadata as people read them: groups, classes in them, gaps between them.

Each function takes one column of a result's ``subgroups``; most give headings and rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from common.metrics.text import figure_text

OVERALL = {"auroc_macro": "macro AUROC", "balanced_accuracy": "balanced accuracy"}
BY_CLASS = {
    "auroc": "AUROC",
    "false_negative_rate": "false-negative rate",
    "specificity": "specificity",
}

Column = Mapping[str, Any]
Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def group_rows(column: Column) -> Rows:
    """A row a group: its labels that were counted, and its figures of all classes together."""
    rows = [
        (
            name,
            str(found["accuracy"]["support"]),
            *(figure_text(found[key]) for key in OVERALL),
            ", ".join(found["left_out"]),
        )
        for name, found in column["groups"].items()
    ]
    return ("group", "labels", *OVERALL.values(), "without AUROC"), rows


def group_class_rows(column: Column) -> Rows:
    """A row a class and group: images with and without the class, and its figures."""
    rows = [
        (
            label,
            name,
            *(str(found["auroc"][label]["support"][side]) for side in ("positives", "negatives")),
            *(figure_text(found[key][label]) for key in BY_CLASS),
        )
        for label in column["gaps"]["auroc"]
        for name, found in column["groups"].items()
    ]
    return ("class", "group", "positives", "negatives", *BY_CLASS.values()), rows


def gap_rows(column: Column) -> Rows:
    """A row a figure: the gap, between which groups, and those with too few images to compare."""
    rows = []
    for title, gap in gaps_of(column):
        ends = (gap[end] or "" for end in ("highest", "lowest"))
        others = [name for name in column["groups"] if name not in gap["support"]["groups"]]
        rows.append((title, figure_text(gap), *ends, ", ".join(others)))
    return ("figure", "gap and 95% interval", "highest", "lowest", "not compared"), rows


def group_tables(name: str, column: Column) -> list[Table]:
    """The column for a terminal; who does not count by it is told below."""
    tables = []
    for head, rows in (group_rows(column), group_class_rows(column), gap_rows(column)):
        table = Table(*head, title=escape(f"by {name}"), title_justify="left")
        for row in rows:
            table.add_row(*map(escape, row))
        tables.append(table)
    tables[-1].caption, tables[-1].caption_justify = escape(column_note(name, column)), "left"
    return tables


def column_note(name: str, column: Column) -> str:
    """Which sites do not count by a column, and which groups no image is counted in."""
    parts = []
    for status, what in (("withheld", "withheld by the policy of"), ("absent", "not kept at")):
        sites = [site for site, said in column["sites"].items() if said == status]
        if sites:
            parts.append(f"{what} {', '.join(sites)}")
    if column["without_support"]:
        parts.append(f"no image is counted of {', '.join(column['without_support'])}")
    return f"{name}: {'; '.join(parts)}." if parts else ""


def gaps_of(column: Column) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each gap of a column, with the name of what it is in."""
    gaps = column["gaps"]
    for key, title in OVERALL.items():
        yield title, gaps[key]
    for key, title in BY_CLASS.items():
        for label, gap in gaps[key].items():
            yield f"{title} of {label}", gap
    for label, gap in gaps.get("at_specificity", {}).get("sensitivity", {}).items():
        yield f"sensitivity of {label} at the wanted specificity", gap
