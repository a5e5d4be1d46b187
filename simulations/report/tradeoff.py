"""What privacy costs: ε against AUROC, over the runs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from simulations.report.svg import svg_text


def tradeoff(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Pooled test macro AUROC with its interval against ε; runs without privacy as lines.

    Args:
        rows: of ``sweep.json``: ``privacy`` (``None``, or the guarantee of the site whose ε is
            largest) and
            ``auroc_macro`` (``None``, or value, low and high). Each run is a point of its own,
            so that several seeds at one ε stand beside each other.

    Returns:
        An ``<svg>`` element; ``None`` where no run has both an ε and a score.
    """
    scored = [r for r in rows if r["auroc_macro"] and r["auroc_macro"]["value"] is not None]
    private = [r for r in scored if r["privacy"] and r["privacy"]["epsilon_run"] > 0]
    if not private:
        return None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for unit, delta in sorted({_promise(r) for r in private}):
        alike = [r for r in private if _promise(r) == (unit, delta)]
        _points(axes, alike, f"{unit}, δ = {delta:g}")
    label: str | None = "without privacy"
    for row in scored:
        if not row["privacy"]:
            axes.axhline(row["auroc_macro"]["value"], color="black", linestyle="--", label=label)
            label = None  # one entry in the legend, whatever the number of lines
    how = sorted({f"{r['privacy']['adjacency']}, {r['privacy']['accountant']}" for r in private})
    axes.set(
        xscale="log",
        xlabel=f"ε of the run, largest of its sites ({'; '.join(how)})",
        ylabel="pooled test macro AUROC",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 8)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend()
    return svg_text(figure, "AUROC against ε")


def _promise(row: Mapping[str, Any]) -> tuple[str, float]:
    return str(row["privacy"]["unit"]), float(row["privacy"]["delta"])


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], label: str) -> None:
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
    axes.errorbar(x, y, yerr=bars, fmt="o", capsize=3, alpha=0.8, label=label)
