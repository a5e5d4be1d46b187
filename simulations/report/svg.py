"""A matplotlib figure as SVG text."""

from __future__ import annotations

import html
import io

from matplotlib.figure import Figure


def svg_text(figure: Figure, title: str) -> str:
    """The figure as an ``<svg>`` element, with a title for those who cannot see it.

    It loads nothing from elsewhere, so it stands in an HTML page as well as in a file of its own.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    svg = buffer.getvalue()
    label = html.escape(title, quote=True)
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
