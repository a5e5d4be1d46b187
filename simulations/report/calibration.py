"""How far probabilities can be believed: reliability, abstention, conformal sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.metrics.text import calibrated_text, figure_text
from simulations.report.blocks import Block, Cell, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.svg import INK, SERIES, drawing, legend_below, svg_inline
from simulations.report.text import of_model

Z95 = 1.959964
ENDS = ("low", "high")


def calibration_section(run: FinishedRun) -> Section | None:
    """Each model's plots, pooled over the sites; ``None`` where no exact counts were released."""
    blocks: list[Block] = []
    for number, (name, metrics) in enumerate(run.models.items()):
        if "reliability" in metrics:
            blocks += _model(str(number), name, metrics)
    if not blocks:
        return None
    blocks += _conformal(run)
    return Section("calibration", "Calibration", tuple(blocks))


def _model(number: str, name: str, metrics: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [_reliability(number, name, metrics)]
    if metrics["abstention"]:
        blocks.append(_abstention(number, name, metrics["abstention"]))
    if "calibrated" in metrics:
        blocks.append(Text(f"{calibrated_text(metrics['calibrated'])}."))
    return blocks


def _reliability(number: str, name: str, metrics: Mapping[str, Any]) -> Plot:
    """What came true against the probability given; on the diagonal both are the same."""
    curves = {"as trained": metrics["reliability"]}
    if "calibrated" in metrics:
        curves["at the fitted temperature"] = metrics["calibrated"]["reliability"]
    title = f"Reliability{of_model(name)}"
    description = (
        "The share of forecasts that came true against the probability given, in bins, with 95% "
        "intervals; the diagonal is a model whose probabilities can be taken at their word."
    )
    rows: list[tuple[Cell, ...]] = []
    with drawing() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
        for colour, marker, (label, bins) in zip(SERIES, "os", curves.items(), strict=False):
            held = [entry for entry in bins if entry["support"]]
            x = [entry["probability"] for entry in held]
            y = [entry["came_true"] for entry in held]
            ends = [wilson(entry["came_true"], entry["support"]) for entry in held]
            bars = [[v - low for v, (low, _) in zip(y, ends, strict=True)],
                    [high - v for v, (_, high) in zip(y, ends, strict=True)]]  # fmt: skip
            axes.errorbar(x, y, bars, color=colour, marker=marker, capsize=2, label=label)
            rows += [
                (label, f"{e['from']:.2f} to {e['to']:.2f}", e["support"],
                 f"{e['probability']:.3f}", f"{e['came_true']:.3f} [{low:.3f}, {high:.3f}]")
                for e, (low, high) in zip(held, ends, strict=True)
            ]  # fmt: skip
        axes.set(xlabel="probability given", ylabel="share that came true", aspect="equal")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        legend_below(figure, columns=2)
        svg = svg_inline(figure, f"reliability-{number}", title, description)
    head = ("scores", "bin", "forecasts", "mean probability", "came true")
    table = Table(f"{title}; intervals take images as independent", head, tuple(rows))
    return Plot(f"reliability-{number}", title, description, svg, table)


def wilson(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share of ``number`` independent trials (Wilson, 1927)."""
    spread = Z95**2 / number
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # At 0 and 1 one end is the share itself, but for rounding.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def _abstention(number: str, name: str, curve: Sequence[Mapping[str, Any]]) -> Plot:
    title = f"Accuracy where the model may abstain{of_model(name)}"
    description = (
        "Accuracy of the most certain decisions against the share of images decided, with its "
        "95% interval; the right end decides on every image."
    )
    x = [point["coverage"] for point in curve]
    figures = [point["accuracy"] for point in curve]
    with drawing() as (figure, axes):
        low, high = ([math.nan if f[e] is None else f[e] for f in figures] for e in ENDS)
        axes.fill_between(x, low, high, color=SERIES[0], alpha=0.18, linewidth=0)
        axes.plot(x, [f["value"] for f in figures], color=SERIES[0], marker=".")
        axes.set(xlabel="share of images decided", ylabel="accuracy", xlim=(0, 1.02))
        svg = svg_inline(figure, f"abstention-{number}", title, description)
    rows = tuple(
        (f"{p['coverage']:.3f}", f"{p['certainty']:.3f}", figure_text(p["accuracy"])) for p in curve
    )
    table = Table(title, ("share decided", "probability of at least", "accuracy"), rows)
    return Plot(f"abstention-{number}", title, description, svg, table)


def _conformal(run: FinishedRun) -> list[Block]:
    """Coverage of conformal sets, on each site and pooled."""
    found = [("pooled", run.result["metrics"])]
    found += [(site["name"], site["metrics"]) for site in run.sites]
    rows = tuple(
        (name, figure_text(sets["coverage"]), figure_text(sets["set_size"]))
        for name, metrics in found
        if metrics and (sets := metrics.get("conformal"))
    )
    if not rows:
        return []
    caption = (
        "Conformal sets: the threshold was chosen on validation patients, all sites together, for "
        f"a coverage of {run.settings.evaluation.coverage:g}"
    )
    return [Table(caption, ("test patients of", "true class in the set", "classes in a set"), rows)]
