"""Strategies on unlike hospitals: HAM10000's three sources, without privacy, one table.

    python -m simulations.benchmarks.unlike data.root=HAM10000_FOLDER output_dir=runs/unlike

Each strategy's settings are those of its file in ``conf/strategy``, and the experiment's: nothing
is tuned on these images. FedBN's figures, and Ditto's second row, are of each site's own model at
that site; all others are of the shared one. Further words are settings as of ``fedrounds
simulate``.

Each cell is a whole run in ``output_dir/STRATEGY-SEED``: one that has ended is read, one that was
cut off goes on. ``unlike.md`` and ``unlike.json`` are the table of those that there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.metrics.text import figure_text
from simulations.benchmarks.command import cells_folder, run
from simulations.benchmarks.timing import machine
from simulations.cells import run_cell
from simulations.markdown import markdown_table

STRATEGIES = ("fedavg", "fedprox", "scaffold", "fedadam", "fedbn", "ditto")
BASE = ("data=ham10000", "experiment=ham10000", "privacy=none", "evaluate_every=2")
ENOUGH = 0.88
"""Macro AUROC, pooled over the validation lesions, to which rounds are counted."""


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    console = Console(soft_wrap=True)
    cells: list[dict[str, Any]] = []
    for strategy in STRATEGIES:
        settings = load_settings([*BASE, f"strategy={strategy}", *overrides])
        output = folder / f"{strategy}-{settings.seed}"
        result = run_cell(output, settings, console)
        cells += rows(strategy, result, output)
        write_json(folder / "unlike.json", {"schema": 1, "machine": machine(), "rows": cells})
        write_bytes(folder / "unlike.md", table(cells).encode())


def rows(strategy: str, result: Mapping[str, Any], output: Path) -> list[dict[str, Any]]:
    """A row for the run's own figures, and one for those of personal models beside them."""
    lines = [
        json.loads(text)
        for text in (output / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    personal = "personal" if result["personal_metrics"] else ""
    return [
        {
            "strategy": f"{strategy}, {kind}" if kind else strategy,
            "seed": result["seed"],
            "auroc_macro": result["personal_metrics" if kind else "metrics"]["auroc_macro"],
            "sites": {
                site["name"]: figures["metrics"]["auroc_macro"]
                for site in result["sites"]
                if (figures := site["personal"] if kind else site)["metrics"] is not None
            },
            "rounds_to_reach": rounds_to_reach(lines, kind),
            "rounds": result["rounds"],
            "seconds": result["seconds"]["total"],
            "bytes": result["bytes"],
            "versions": result["versions"],
        }
        for kind in dict.fromkeys(("", personal))
    ]


def rounds_to_reach(lines: Sequence[Mapping[str, Any]], kind: str) -> int | None:
    """The first round whose validation figure is enough, if there is one."""
    for line in lines:
        validation = line["validation"] or {}
        pooled = (validation.get(kind, {}) if kind else validation).get("pooled") or {}
        if (pooled.get("auroc_macro") or 0) >= ENOUGH:
            return int(line["round"])
    return None


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    sites = sorted({site for cell in cells for site in cell["sites"]})
    heading = ["Strategy", "Seed", "Macro AUROC, pooled", *sites, f"Rounds to {ENOUGH}", "Seconds"]
    rows = [
        (
            cell["strategy"],
            str(cell["seed"]),
            figure_text(cell["auroc_macro"]),
            *(figure_text(cell["sites"].get(site)) for site in sites),
            str(cell["rounds_to_reach"] or f"not in {cell['rounds']}"),
            f"{cell['seconds']:.0f}",
        )
        for cell in cells
    ]
    return markdown_table(heading, rows)


if __name__ == "__main__":
    run(main)
