"""The in-process engine against Ray and against a plain Flower app: seconds and memory.

    python -m simulations.benchmarks.engines output_dir=runs/engines [sites=3,10,50] [repeats=1]

The phantom's patients, divided alike among so many sites; patient-level privacy, a few steps a
round. ``inprocess`` and ``ray`` are whole runs of ``fedrounds simulate``; ``plain`` is
``plain_app.py`` over the same sites. Further words are settings. The three take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from simulations.benchmarks.command import cells_folder, run, take_count, take_word
from simulations.benchmarks.memory import Cost, cost_of
from simulations.benchmarks.speed import shared
from simulations.benchmarks.timing import machine, spread
from simulations.hospitals import kept_hospitals
from simulations.markdown import markdown_table

BASE = (
    "experiment=phantom",
    "partition=iid",
    "privacy.epsilon=8",
    "privacy.delta=1e-5",
    "rounds=4",
    "local_steps=5",
    "strategy.batch_size=16",
)
PATIENTS = 1400
"""About how many of the phantom's train: a site's public count is its share of them."""
ENGINES = ("inprocess", "ray", "plain")


def main(words: Sequence[str]) -> None:
    folder, words = cells_folder(words)
    counts, words = take_word(words, "sites", "3,10,50")
    repeats, words = take_count(words, "repeats", 1)
    console = Console(soft_wrap=True)
    root = kept_hospitals(folder, 0)
    rows: list[dict[str, Any]] = []
    for sites in map(int, counts.split(",")):
        own = [f"partition.sites={sites}", f"privacy.public_patients={PATIENTS // sites}"]
        given = [*BASE, f"data.root={root}", *own, *words]
        costs: dict[str, list[Cost]] = {engine: [] for engine in ENGINES}
        for _ in range(repeats):
            for engine, cost in one_turn(folder, sites, given):
                costs[engine].append(cost)
                console.print(f"{sites} sites, {engine}: {cost.seconds:.1f} s", highlight=False)
        rows.append({"sites": sites, **{e: figures(found) for e, found in costs.items()}})
        facts = {**machine(), "torch": torch.__version__, "words": [*BASE, *words]}
        write_json(folder / "engines.json", {"schema": 1, "machine": facts, "rows": rows})
        write_bytes(folder / "engines.md", table(rows).encode())
    console.print(table(rows))


def one_turn(folder: Path, sites: int, words: Sequence[str]) -> list[tuple[str, Cost]]:
    """Each engine once."""
    turn = f"{sites}-{time.strftime('%Y%m%d%H%M%S')}"
    costs = []
    for engine in ("inprocess", "ray"):
        output = folder / f"{engine}-{turn}"
        run = [*words, f"engine={engine}", f"output_dir={output}"]
        costs.append((engine, cost_of("-m", "fedrounds", "simulate", *run)))
    experiment = folder / f"experiment-{sites}.yaml"
    experiment.write_text(shared(load_settings(words)).to_yaml(), encoding="utf-8")
    plain = cost_of("-m", "simulations.benchmarks.plain_app", str(output), str(experiment))
    return [*costs, ("plain", plain)]


def figures(costs: Sequence[Cost]) -> dict[str, list[float]]:
    return {
        "seconds": [cost.seconds for cost in costs],
        "mebibytes": [cost.mebibytes for cost in costs],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; the last column is how many times as long the plain app takes as ours."""
    heading = ["Sites", *(f"{e}, s" for e in ENGINES), *(f"{e}, MiB" for e in ENGINES)]
    lines = []
    for row in rows:
        seconds = {engine: statistics.median(row[engine]["seconds"]) for engine in ENGINES}
        cells = [spread(row[engine]["seconds"]) for engine in ENGINES]
        cells += [f"{max(row[engine]['mebibytes']):,.0f}" for engine in ENGINES]
        ratio = seconds["plain"] / seconds["inprocess"]
        lines.append([str(row["sites"]), *cells, f"{ratio:.1f}"])
    return markdown_table([*heading, "plain / inprocess"], lines)


if __name__ == "__main__":
    run(main)
