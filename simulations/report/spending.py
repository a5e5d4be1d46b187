"""ε against rounds, a line a site, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.report.svg import svg_text


def spending_curves(
    curves: Mapping[str, Sequence[tuple[int, float]]], cap: float | None, guarantee: str
) -> str:
    """Cumulative ε after each round, and the cap.

    Args:
        curves: of each site, (round, ε) in the order of rounds.
        cap: what no site's ε may pass, if anything.
        guarantee: what every ε here is about: δ, unit, adjacency, accountant.

    Returns:
        An ``<svg>`` element.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for site, curve in curves.items():
        rounds, spent = zip(*curve, strict=True)
        axes.plot(rounds, spent, marker=".", label=site)
    if cap is not None:
        axes.axhline(cap, color="black", linestyle="--", label=f"cap: ε = {cap:g}")
    axes.set(xlabel="\n".join(["round", *wrap(guarantee, 80)]), ylabel="ε so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return svg_text(figure, "ε against rounds")
