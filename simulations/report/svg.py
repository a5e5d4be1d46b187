"""Drawing with matplotlib: one style, and SVG for a page or for a file of its own.

In a page the colours become the page's own CSS variables, so that a plot follows light and dark;
texts stay texts, in the page's font. A file keeps the light colours.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1a2230", "#5b6575", "#d9dee5", "#fffffe"
SERIES = ("#0072b2", "#c2540a", "#00815e", "#b0468c", "#8f6a00", "#5b5bd6")
"""Told apart by people who see colours otherwise too; after them the dashes change."""
DASHES = ("-", "--", ":", "-.")
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{n})" for n, colour in enumerate(SERIES, 1)},
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fedrounds",  # equal figures are equal texts
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
SIZE = (4.8, 3.4)
"""Inches: narrow enough for a telephone, where the texts still have 10 pixels."""


@contextmanager
def drawing() -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the project's style; draw and save it inside."""
    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        yield figure, figure.add_subplot()


@contextmanager
def panels(number: int) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with ``number`` panels, two abreast."""
    rows = -(-number // 2)
    with rc_context(STYLE):
        figure = Figure(figsize=(SIZE[0], 0.5 + 2.4 * rows), layout="constrained")
        grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        for unused in grid.flat[number:]:
            unused.set_visible(False)
        yield figure, list(grid.flat[:number])


def line_style(number: int) -> dict[str, Any]:
    """Colour and dash of the line with this number, from 0: both tell lines apart."""
    return {
        "color": SERIES[number % len(SERIES)],
        "linestyle": DASHES[number // len(SERIES) % len(DASHES)],
    }


def legend_below(figure: Figure, columns: int = 3) -> None:
    """The legend under the axes, where it hides nothing."""
    figure.legend(loc="outside lower center", ncols=columns)


def svg_file(figure: Figure, title: str) -> str:
    """The figure as an SVG file, with a title for those who cannot see it."""
    svg = _save(figure)
    label = html.escape(title, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def svg_inline(figure: Figure, key: str, title: str, description: str) -> str:
    """The figure as an element of a page.

    Args:
        figure: drawn in :func:`drawing`.
        key: unique on the page; every id in the element starts with it.
        title: what it shows.
        description: how it is drawn.
    """
    svg = _save(figure)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    head = (
        f'<svg role="img" aria-labelledby="{key}-title {key}-description"'
        f"{svg[len('<svg') : svg.index('>') + 1]}"
        f'<title id="{key}-title">{html.escape(title)}</title>'
        f'<desc id="{key}-description">{html.escape(description)}</desc>'
    )
    return head + svg[svg.index(">") + 1 :]


def _save(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
