"""A federation and what it is compared with: runs kept as cells, one table over all of them.

The design's folder is a finished run's, the federation's, whose ``result.json`` also holds the
table. Every run stands under ``arms/``; one that has ended is not run again.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import yaml
from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.config import Settings
from common.schema import to_plain
from common.start import Run
from simulations.cells import run_cell
from simulations.designs.arms import FEDERATION, arms_of, federation
from simulations.designs.comparison import compare
from simulations.designs.text import markdown, table
from simulations.experiment import simulate
from simulations.hospitals import kept_hospitals
from simulations.report.page import write_report

OF_THE_FEDERATION = ("model.json", "model.safetensors", "rounds.jsonl")


def run_as_designed(run: Run, console: Console) -> dict[str, Any]:
    """The run alone, or all that its settings' design compares it with.

    Returns:
        What ``result.json`` holds.

    Raises:
        FedroundsError: as a run does.
    """
    return (simulate if run.settings.design == "none" else run_design)(run, console)


def run_design(run: Run, console: Console) -> dict[str, Any]:
    """Run all arms of ``run.settings.design``, or those that are missing, and compare them.

    Returns:
        What ``result.json`` holds.

    Raises:
        FedroundsError: as a run does; the arms that have ended are kept.
    """
    folder = run.output_dir
    settings = _begin(run)
    arms = folder / "arms"
    console.rule(FEDERATION)
    main = run_cell(arms / FEDERATION, federation(settings), console)
    results = {FEDERATION: main}
    for name, arm in arms_of(settings, [site["name"] for site in main["sites"]]).items():
        console.rule(name)
        results[name] = run_cell(arms / name, arm, console)
    comparison = compare(arms, results, settings)
    for name in OF_THE_FEDERATION:
        shutil.copy2(arms / FEDERATION / name, folder / name)
    write_bytes(folder / "comparison.md", markdown(comparison).encode())
    result = {
        **main,
        "run_id": run.run_id,
        "experiment": settings.experiment,
        "seconds": {
            key: round(sum(r["seconds"][key] for r in results.values()), 2)
            for key in main["seconds"]
        },
        "incomplete": [
            f"{name}: {line}" for name, r in results.items() for line in r["incomplete"]
        ],
        "comparison": comparison,
    }
    write_json(folder / "result.json", result)
    write_report(folder)
    console.print(table(comparison))
    console.print(f"report: {folder / 'report.html'}", highlight=False)
    return result


def _begin(run: Run) -> Settings:
    """Write what a design goes on from if cut off; phantom hospitals are drawn once for all."""
    folder, settings = run.output_dir, run.settings
    if not (folder / "run.json").exists():
        config = yaml.safe_dump(to_plain(settings), sort_keys=False, allow_unicode=True)
        write_bytes(folder / "config.yaml", config.encode())
        write_json(folder / "run.json", {"run_id": run.run_id})
    if not (settings.data.phantom and settings.data.root is None):
        return settings
    root = kept_hospitals(folder, settings.seed)
    return replace(settings, data=replace(settings.data, root=str(root)))
