"""``fedrounds report RUN``: the page, from what a finished run left on disk."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.checkpoint import read_json, write_bytes
from common.errors import CheckpointError, SettingsError
from simulations.report.curves import learning_curves
from simulations.report.text import figure_text, guarantee_text

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid #8886; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; background: #fff; } figure svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid #8886; }
"""


def help_text() -> str:
    return (
        "usage: fedrounds report RUN\n\nWrite RUN/report.html anew from RUN's result.json, "
        "rounds.jsonl and config.yaml.\n"
    )


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    if len(arguments) != 1:
        raise SettingsError(f"expected one folder of a finished run, got {len(arguments)} words")
    print(write_report(Path(arguments[0])))
    return 0


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run's folder.

    Raises:
        CheckpointError: where the folder holds no finished run.
    """
    result = read_json(run / "result.json")
    try:
        rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
        config = (run / "config.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{run}: expected rounds.jsonl and config.yaml of a run: {error}"
        ) from error
    path = run / "report.html"
    write_bytes(path, render(result, rounds, config).encode())
    return path


def render(result: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]], config: str) -> str:
    """The page as one HTML text; nothing in it is loaded from elsewhere."""
    title = f"fedrounds: {result['experiment']}"
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(outcome_sentence(result))}</p>",
        "<h2>Sites</h2>",
        _sites(result["sites"], _unit(result)),
        "<h2>Learning curves</h2>",
        "<p>Macro AUROC on the validation part, which is never the test part.</p>",
        f"<figure>{learning_curves(rounds)}</figure>",
        "<h2>Test figures</h2>",
        *_metrics(result),
        "<h2>Rounds that lacked a site</h2>",
        _left_out(rounds),
        "<h2>Settings</h2>",
        f"<pre>{html.escape(config)}</pre>",
        f"<p>Versions: {html.escape(versions)}</p>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def outcome_sentence(result: Mapping[str, Any]) -> str:
    """The run in one sentence: who trained, how well, at what price."""
    names = [site["name"] for site in result["sites"]]
    spent = [site["privacy"] for site in result["sites"] if site["privacy"]]
    head = f"{len(names)} sites trained for {result['rounds']} rounds"
    if result["metrics"]:
        head += f"; pooled test macro AUROC {figure_text(result['metrics']['auroc_macro'])}"
    if not spent:
        return f"{head}; without differential privacy."
    worst = max(spent, key=lambda p: float(p["epsilon_run"]))
    return (
        f"{head}; this run cost at most ε = {worst['epsilon_run']:.3f} at δ = {worst['delta']:g} "
        f"for each {worst['unit']} ({worst['adjacency']}, {worst['accountant']})."
    )


def _unit(result: Mapping[str, Any]) -> str:
    """What an id column identifies: a simulation knows it, a server only where a ledger says so."""
    if "simulation" in result:
        return str(result["simulation"]["unit"])
    units = [site["privacy"]["unit"] for site in result["sites"] if site["privacy"]]
    return str(units[0]) if units else "patient"


def _sites(sites: Sequence[Mapping[str, Any]], unit: str) -> str:
    rows = []
    for site in sites:
        privacy, metrics = site["privacy"], site["metrics"]
        guarantee = "none"
        if privacy:
            guarantee = (
                f"ε {privacy['epsilon_run']:.3f} this run, {privacy['epsilon']:.3f} over the "
                f"ledger's life; {guarantee_text(privacy)}; "
                f"σ {privacy['noise_multiplier']:g}, q {privacy['sample_rate']:.4f}, "
                f"{privacy['steps']} steps, C {privacy['max_grad_norm']:g}"
            )
        rows.append(
            [
                site["name"],
                site.get("patients", {}).get("train", ""),
                site.get("patients", {}).get("test", ""),
                figure_text(metrics["auroc_macro"]) if metrics else "none",
                guarantee + _evaluated_only(site),
            ]
        )
    return _table(
        ["site", f"{unit}s that train", f"{unit}s in test", "macro AUROC", "privacy"], rows
    )


def _evaluated_only(site: Mapping[str, Any]) -> str:
    since = site["evaluate_only"]
    if not since:
        return ""
    return f"; evaluated only from round {since['from_round']}: {since['reason']}"


def _metrics(result: Mapping[str, Any]) -> list[str]:
    models = {"": result["metrics"]} if result["metrics"] else result["local_metrics"] or {}
    parts = []
    for name, metrics in models.items():
        if not metrics:
            continue
        if name:
            parts.append(f"<h3>Model of {html.escape(name)}, scored on every site</h3>")
        rows = [
            [
                c,
                f["support"]["positives"],
                f["support"]["negatives"],
                figure_text(f),
                figure_text(metrics.get("auprc", {}).get(c)),
            ]
            for c, f in metrics["auroc"].items()
        ]
        parts.append(_table(["class", "positives", "negatives", "AUROC", "AUPRC"], rows))
        if "noise_std" in metrics:
            parts.append(
                f"<p>Patients counted under noise of ±{metrics['noise_std']:.1f} on each cell, "
                f"which the intervals hold; bins of the score account for "
                f"±{metrics['bin_error'] or 0:.3f}.</p>"
            )
        else:
            parts.append(
                f"<p>Balanced accuracy {figure_text(metrics['balanced_accuracy'])}; "
                f"log loss {figure_text(metrics['log_loss'])}; "
                f"AUROC exact to ±{metrics['bin_error'] or 0:.1e}.</p>"
            )
        if metrics["left_out"]:
            left_out = html.escape(", ".join(metrics["left_out"]))
            parts.append(f"<p>Left out of the macro figure for want of support: {left_out}.</p>")
    return parts


def _left_out(rounds: Sequence[Mapping[str, Any]]) -> str:
    rows = [[r["round"], site, why] for r in rounds for site, why in r["refused"].items()]
    return _table(["round", "site", "reason"], rows) if rows else "<p>None.</p>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in headings)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    kind = ' class="number"' if isinstance(value, (int, float)) else ""
    return f"<td{kind}>{html.escape(str(value))}</td>"
