"""``fedrounds simulate -m``: one run for each combination of values, one table and one plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from common.checkpoint import write_bytes, write_json
from common.compose import expand_sweep, load_settings
from common.metrics.text import figure_text
from common.start import new_run
from server.results import check_complete
from simulations.designs.run import run_as_designed
from simulations.output import output_folder
from simulations.report.text import guarantee_text
from simulations.report.tradeoff import tradeoff

GUARANTEE = ("epsilon_run", "epsilon", "delta", "unit", "adjacency", "accountant")
SCORE = ("value", "low", "high")


def run_sweep(overrides: Sequence[str], console: Console, as_json: bool) -> int:
    """Run every combination, each under its own folder of ``output_dir``; returns the exit code.

    Every combination's settings are checked before the first one starts. ``sweep.json`` and
    ``sweep.csv`` grow with each run; ``sweep.svg`` (ε against AUROC) is drawn at the end, where a
    run had privacy.
    """
    jobs = expand_sweep([o for o in overrides if not o.startswith("output_dir=")])
    named = [o.split("=", 1)[1] for o in overrides if o.startswith("output_dir=")]
    base = output_folder(named[-1] if named else None, "sweep")
    runs = [
        new_run(load_settings([*job, f"output_dir='{base / str(number)}'"]))
        for number, job in enumerate(jobs)
    ]
    rows: list[dict[str, Any]] = []
    for run, job in zip(runs, jobs, strict=True):
        console.rule(" ".join(job))
        result = run_as_designed(run, console)
        rows.append({"overrides": job, "output_dir": str(run.output_dir), **sweep_row(result)})
        write_json(base / "sweep.json", {"schema": 1, "runs": rows})
        write_bytes(base / "sweep.csv", sweep_csv(rows).encode())
    console.print(_table(rows))
    plot = tradeoff(rows)
    if plot is not None:
        write_bytes(base / "sweep.svg", plot.encode())
        console.print(f"ε against AUROC: {base / 'sweep.svg'}", highlight=False)
    if as_json:
        print(json.dumps(rows, indent=1))
    check_complete([line for row in rows for line in row["incomplete"]])
    return 0


def sweep_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the sweep keeps of one run's ``result.json``; its privacy is that of the largest ε."""
    spent = [site["privacy"] for site in result["sites"] if site["privacy"]]
    largest = max(spent, key=lambda p: float(p["epsilon_run"]), default=None)
    return {
        "incomplete": result["incomplete"],
        "rounds": result["rounds"],
        "seed": result["seed"],
        "epsilon_run": largest["epsilon_run"] if largest else None,
        "privacy": largest,
        "auroc_macro": result["metrics"]["auroc_macro"] if result["metrics"] else None,
    }


def sweep_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a run, in the order they ran; empty where a run has no such figure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    scores = [f"auroc_macro_{name}" for name in SCORE]
    writer.writerow(["run", "settings", "seed", "rounds", *GUARANTEE, *scores])
    for number, row in enumerate(rows):
        privacy, score = row["privacy"] or {}, row["auroc_macro"] or {}
        writer.writerow(
            [number, " ".join(row["overrides"]), row["seed"], row["rounds"]]
            + [privacy.get(name) for name in GUARANTEE]
            + [score.get(name) for name in SCORE]
        )
    return stream.getvalue()


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ("settings", "ε (run)", "ε (life)", "guarantee", "macro AUROC")
    table = Table(*heads, title="sweep", caption="ε is the largest of the sites'")
    for row in rows:
        privacy, spent = row["privacy"], ("none", "none", "no privacy")
        if privacy:
            spent = (
                f"{privacy['epsilon_run']:.3f}",
                f"{privacy['epsilon']:.3f}",
                guarantee_text(privacy),
            )
        table.add_row(" ".join(row["overrides"]), *spent, figure_text(row["auroc_macro"]))
    return table
