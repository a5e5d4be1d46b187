"""Learning curves: validation macro AUROC against the round, pooled and of each site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from simulations.report.blocks import Cell, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.svg import INK, drawing, legend_below, line_style, svg_inline

POOLED = "pooled"


def learning_section(run: FinishedRun) -> Section:
    """The curves, or why there are none."""
    scored = [line for line in run.rounds if line["validation"]]
    sites = sorted({site for line in scored for site in line["validation"]["sites"]})
    curves = {name: _curve(scored, name) for name in [*sites, POOLED]}
    if not any(value is not None for curve in curves.values() for value in curve):
        text = "No site released figures on its validation patients, so there is no curve."
        return Section("learning", "Learning curves", (Text(text),))
    about = "Scored on the validation part of each site, which is never the test part."
    rounds = [int(line["round"]) for line in scored]
    return Section("learning", "Learning curves", (Text(about), _plot(rounds, curves)))


def _curve(scored: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """The figure after each scored round; ``None`` where the site gave none."""
    entries = [
        line["validation"]["pooled"] if name == POOLED else line["validation"]["sites"].get(name)
        for line in scored
    ]
    return [entry["auroc_macro"] if entry else None for entry in entries]


def _plot(rounds: list[int], curves: Mapping[str, list[float | None]]) -> Plot:
    title = "Macro AUROC on validation patients, round by round"
    description = (
        f"A line for each of {len(curves) - 1} sites and a thick one for all of them pooled, "
        f"over rounds {rounds[0]} to {rounds[-1]}."
    )
    with drawing() as (figure, axes):
        for number, (name, curve) in enumerate(curves.items()):
            values = [float("nan") if value is None else value for value in curve]
            style = {"color": INK, "linewidth": 2.6} if name == POOLED else line_style(number)
            axes.plot(rounds, values, label=name, marker="." if len(rounds) < 30 else "", **style)
        axes.set(xlabel="round", ylabel="macro AUROC")
        axes.set_xlim(rounds[0] - 0.5, rounds[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        legend_below(figure)
        svg = svg_inline(figure, "learning", title, description)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (number, *(_text(curve[i]) for curve in curves.values())) for i, number in enumerate(rounds)
    )
    return Plot("learning", title, description, svg, Table(title, ("round", *curves), rows))


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
