"""``fedrounds simulate -m``: one run for each combination of values, and one table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.checkpoint import write_json
from common.compose import expand_sweep, load_settings
from common.errors import SettingsError
from server.results import check_complete
from simulations.experiment import simulate
from simulations.report.text import figure_text
from simulations.start import new_run


def run_sweep(overrides: Sequence[str], console: Console, as_json: bool) -> int:
    """Run every combination, each under its own folder of ``output_dir``; returns the exit code.

    Every combination's settings are checked before the first one starts.
    """
    jobs = expand_sweep([o for o in overrides if not o.startswith("output_dir=")])
    named = [o.split("=", 1)[1] for o in overrides if o.startswith("output_dir=")]
    base = Path(named[-1] if named else f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_sweep")
    if base.exists() and any(base.iterdir()):
        raise SettingsError(f"output_dir={base} is not an empty folder; choose another")
    runs = [
        new_run(load_settings([*job, f"output_dir='{base / str(number)}'"]))
        for number, job in enumerate(jobs)
    ]
    rows: list[dict[str, Any]] = []
    for run, job in zip(runs, jobs, strict=True):
        console.rule(" ".join(job))
        result = simulate(run, console)
        rows.append({"overrides": job, "output_dir": str(run.output_dir), **_row(result)})
        write_json(base / "sweep.json", {"schema": 1, "runs": rows})
    console.print(_table(rows))
    if as_json:
        print(json.dumps(rows, indent=1))
    check_complete([line for row in rows for line in row["incomplete"]])
    return 0


def _row(result: dict[str, Any]) -> dict[str, Any]:
    spent = [site["privacy"]["epsilon_run"] for site in result["sites"] if site["privacy"]]
    return {
        "incomplete": result["incomplete"],
        "rounds": result["rounds"],
        "seed": result["seed"],
        "epsilon_run": max(spent, default=None),
        "auroc_macro": result["metrics"]["auroc_macro"] if result["metrics"] else None,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("settings", "ε (largest of the sites)", "macro AUROC", title="sweep")
    for row in rows:
        spent = "none" if row["epsilon_run"] is None else f"{row['epsilon_run']:.3f}"
        table.add_row(" ".join(row["overrides"]), spent, figure_text(row["auroc_macro"]))
    return table
