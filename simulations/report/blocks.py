"""What a page is made of: sections of texts, tables, plots and code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

Cell = str | int | None
FIGURE = re.compile(r"[\d−-][^a-zA-Z]*|none|no limit")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Lines to be read as they stand, such as commands.

    Attributes:
        label: what they are, for those who cannot see them.
        text: the lines.
    """

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes:
        caption: what it holds.
        head: a heading for each column.
        rows: cells; ``None`` is an empty one.
    """

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def figures(self) -> tuple[bool, ...]:
        """Whether each column holds figures alone, which are set to the right."""
        columns = zip(*self.rows, strict=True)
        return tuple(all(map(_is_figure, cells)) for cells in columns) or (False,) * len(self.head)


@dataclass(frozen=True)
class Plot:
    """A plot, and the same figures as a table.

    Attributes:
        key: unique on the page.
        title: what it shows.
        description: how it is drawn, for those who cannot see it.
        svg: the ``<svg>`` element, ready for a page.
        table: what is drawn, as figures.
    """

    kind: ClassVar[str] = "plot"
    key: str
    title: str
    description: str
    svg: str
    table: Table


Block = Text | Code | Table | Plot


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading that can be linked to."""

    key: str
    title: str
    blocks: tuple[Block, ...]


def _is_figure(cell: Cell) -> bool:
    return not isinstance(cell, str) or FIGURE.fullmatch(cell) is not None
