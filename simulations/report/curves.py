"""Learning curves as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from simulations.report.svg import svg_text


def learning_curves(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Validation macro AUROC against the round: pooled, and each site's own.

    Args:
        rounds: the lines of ``rounds.jsonl``.

    Returns:
        An ``<svg>`` element with a title for those who cannot see it.
    """
    scored = [line for line in rounds if line["validation"]]
    sites = sorted({site for line in scored for site in line["validation"]["sites"]})
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for site in sites:
        axes.plot(*_points(scored, site), linewidth=1, alpha=0.7, label=site)
    axes.plot(*_points(scored, None), linewidth=2.5, color="black", label="pooled")
    axes.set(xlabel="round", ylabel="macro AUROC")
    axes.grid(alpha=0.3)
    axes.legend()
    return svg_text(figure, "Learning curves")


def _points(scored: Sequence[Mapping[str, Any]], site: str | None) -> tuple[list[int], list[float]]:
    x, y = [], []
    for line in scored:
        validation = line["validation"]
        entry = validation["pooled"] if site is None else validation["sites"].get(site)
        if entry and entry["auroc_macro"] is not None:
            x.append(int(line["round"]))
            y.append(float(entry["auroc_macro"]))
    return x, y
