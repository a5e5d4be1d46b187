"""What privacy costs: ε against AUROC, over the runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from simulations.report.svg import INK, SERIES, drawing, legend_below, svg_file


def tradeoff(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Pooled test macro AUROC with its interval against ε; runs without privacy as lines.

    Args:
        rows: of ``sweep.json``: ``privacy`` (``None``, or the guarantee of the site whose ε is
            largest) and
            ``auroc_macro`` (``None``, or value, low and high). Each run is a point of its own,
            so that several seeds at one ε stand beside each other.

    Returns:
        The text of an SVG file; ``None`` where no run has both an ε and a score.
    """
    scored = [r for r in rows if r["auroc_macro"] and r["auroc_macro"]["value"] is not None]
    private = [r for r in scored if r["privacy"] and r["privacy"]["epsilon_run"] > 0]
    if not private:
        return None
    how = sorted({f"{r['privacy']['adjacency']}, {r['privacy']['accountant']}" for r in private})
    with drawing() as (figure, axes):
        for number, (unit, delta) in enumerate(sorted({_promise(r) for r in private})):
            alike = [r for r in private if _promise(r) == (unit, delta)]
            _points(axes, alike, f"{unit}, δ = {delta:g}", SERIES[number % len(SERIES)])
        label: str | None = "without privacy"
        for row in scored:
            if not row["privacy"]:
                axes.axhline(row["auroc_macro"]["value"], color=INK, linestyle="--", label=label)
                label = None  # one entry in the legend, whatever the number of lines
        axes.set(
            xscale="log",
            xlabel="\n".join(wrap(f"ε of the run, largest of its sites ({'; '.join(how)})", 64)),
            ylabel="pooled test macro AUROC",
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 8)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        legend_below(figure, columns=2)
        return svg_file(figure, "AUROC against ε")


def _promise(row: Mapping[str, Any]) -> tuple[str, float]:
    return str(row["privacy"]["unit"]), float(row["privacy"]["delta"])


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], label: str, colour: str) -> None:
    """Points, with bars where a run's score has an interval."""
    x = [float(r["privacy"]["epsilon_run"]) for r in rows]
    scores = [r["auroc_macro"] for r in rows]
    ends = [
        (0.0, 0.0)
        if s["low"] is None
        else (max(0.0, s["value"] - s["low"]), max(0.0, s["high"] - s["value"]))
        for s in scores
    ]
    bars = ([low for low, _ in ends], [high for _, high in ends])
    y = [float(s["value"]) for s in scores]
    axes.errorbar(x, y, yerr=bars, fmt="o", capsize=3, color=colour, label=label)
