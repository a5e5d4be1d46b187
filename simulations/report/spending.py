"""ε against rounds, a line a site, and the cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.report.svg import INK, drawing, legend_below, line_style, svg_file, svg_inline

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""Of each site, (round, ε so far) in the order of rounds."""


def spending_file(curves: Curves, cap: float | None, guarantee: str) -> str:
    """Cumulative ε after each round, and the cap, as an SVG file.

    Args:
        curves: of each site.
        cap: what no site's ε may pass, if anything.
        guarantee: what every ε here is about: δ, unit, adjacency, accountant.
    """
    with drawing() as (figure, axes):
        _draw(figure, axes, curves, cap, guarantee)
        return svg_file(figure, "ε against rounds")


def spending_inline(
    curves: Curves, cap: float | None, guarantee: str, title: str, description: str
) -> str:
    """The same as an element of a page."""
    with drawing() as (figure, axes):
        _draw(figure, axes, curves, cap, guarantee)
        return svg_inline(figure, "spending", title, description)


def _draw(figure: Figure, axes: Axes, curves: Curves, cap: float | None, guarantee: str) -> None:
    for number, (site, curve) in enumerate(curves.items()):
        rounds, spent = zip(*curve, strict=True)
        axes.plot(rounds, spent, marker=".", label=site, **line_style(number))
    if cap is not None:
        axes.axhline(cap, color=INK, linestyle="--", label=f"cap: ε = {cap:g}")
    axes.set(xlabel="\n".join(["round", *wrap(guarantee, 64)]), ylabel="ε so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    legend_below(figure)
