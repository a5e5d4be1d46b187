"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """One line a row; a bar within a cell is escaped.

    Args:
        heading: of each column.
        rows: as many cells each.
    """
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )
