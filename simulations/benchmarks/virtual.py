"""Many virtual sites in one process tree: seconds a round, and peak memory.

    python -m simulations.benchmarks.virtual output_dir=runs/virtual [sites=10,100,1000]

Each site is a phantom hospital of a few patients in a folder of its own, and trains on one batch a
round, without privacy. A round is linear in the sites; memory should be flat, but for the answers
that a strategy aggregates, a model a site.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.journal import read_lines
from simulations.benchmarks.command import cells_folder, run, take_word
from simulations.benchmarks.memory import cost_of
from simulations.benchmarks.timing import machine, spread
from simulations.hospitals import HOSPITALS, kept_hospitals
from simulations.markdown import markdown_table

PATIENTS = 8
PIXELS = 32
BASE = (
    "experiment=phantom",
    "privacy=none",
    "rounds=3",
    "evaluate_every=3",
    "local_steps=1",
    "strategy.batch_size=8",
    "data.test_fraction=0.1",
    "data.validation_fraction=0.05",
    "evaluation.replicates=0",
    "privacy.public_patients=6",
)


def main(words: Sequence[str]) -> None:
    folder, words = cells_folder(words)
    counts, words = take_word(words, "sites", "10,100,1000")
    rows: list[dict[str, Any]] = []
    for sites in map(int, counts.split(",")):
        rows.append(measure(folder, sites, words))
        facts = {**machine(), "torch": torch.__version__, "words": [*BASE, *words]}
        write_json(folder / "virtual.json", {"schema": 1, "machine": facts, "rows": rows})
        write_bytes(folder / "virtual.md", table(rows).encode())
    Console(soft_wrap=True).print(table(rows))


def measure(folder: Path, sites: int, words: Sequence[str]) -> dict[str, Any]:
    """One run over so many sites."""
    small = replace(HOSPITALS[0], patients=PATIENTS, pixels=PIXELS)
    named = tuple(replace(small, name=f"site-{number:04d}") for number in range(sites))
    root = kept_hospitals(folder, 0, named, f"sites-{sites}")
    output = folder / f"run-{sites}-{time.strftime('%Y%m%d%H%M%S')}"
    given = [*BASE, f"data.root={root}", f"output_dir={output}", *words]
    cost = cost_of("-m", "fedrounds", "simulate", *given)
    rounds = read_lines(output / "rounds.jsonl")
    # a round that scores the validation part as well, the last, is another matter
    seconds = [float(line["seconds"]) for line in rounds if line["validation"] is None]
    return {
        "sites": sites,
        "round_seconds": seconds,
        "seconds": cost.seconds,
        "mebibytes": cost.mebibytes,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    heading = ["Sites", "A round, s", "ms a site", "Peak memory, MiB", "Whole run, s"]
    lines = []
    for row in rows:
        each = 1000 * statistics.median(row["round_seconds"]) / row["sites"]
        lines.append(
            (
                f"{row['sites']:,}",
                spread(row["round_seconds"]),
                f"{each:.0f}",
                f"{row['mebibytes']:,.0f}",
                f"{row['seconds']:.0f}",
            )
        )
    return markdown_table(heading, lines)


if __name__ == "__main__":
    run(main)
