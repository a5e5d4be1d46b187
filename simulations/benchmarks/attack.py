"""One lying site of seven, against FedAvg and each robust strategy: AUROC attacked beside clean.

    python -m simulations.benchmarks.attack output_dir=runs/attack [KEY=VALUE …]

Seven sites divide the phantom's patients alike; one of them lies in every round. It is omniscient:
it has seen the honest answers before it gives its own (``attacks.py``), or it trains on labels that
its ``site.yaml`` swaps. The figure is the macro AUROC pooled over the test patients of the six
honest sites, for the clean run as well. Further words are settings as of ``fedrounds simulate``.

Each cell of the table is kept as a JSON file in ``output_dir/cells``, and a second call goes on
where the first one stopped. ``attack.md`` and ``attack.json`` are the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from flwr.app import Message

from common.checkpoint import read_json, write_bytes, write_json
from common.compose import load_settings
from common.config import Experiment, Settings
from common.errors import IncompleteRunError, SettingsError
from common.messages import TrainAnswer, TrainRequest
from common.metrics import figures
from common.schema import to_plain
from server.evaluation import pool, pool_replicates
from server.job import Job
from server.results import versions
from server.rounds import run_rounds
from server.strategies.robust import from_row, to_rows
from simulations.benchmarks.attacks import ATTACKS, Attack
from simulations.benchmarks.command import cells_folder, run
from simulations.benchmarks.timing import machine
from simulations.flower import become_server
from simulations.hospitals import kept_hospitals
from simulations.inprocess import InProcessGrid
from simulations.markdown import markdown_table
from simulations.sites import prepare_cohorts, write_site_folders

STRATEGIES = ("fedavg", "median", "trimmed_mean", "krum", "multi_krum", "geometric_median")
KINDS = ("clean", "sign_flip", "label_flip", "alie", "min_max", "times_1e6")
LIAR = "site-4"
SWAPPED = {"nodule": "infiltrate", "infiltrate": "nodule"}
BASE = (
    "experiment=phantom",
    "privacy=none",
    "partition=iid",
    "partition.sites=7",
    "engine.workers=1",
    "evaluate_every=1000",
    "rounds=8",
    "local_steps=25",
    "model.width=8",
    "strategy.batch_size=32",
    "strategy.learning_rate=0.01",
)
ALLOWED_LOSS = 0.05
"""Of AUROC, for a robust strategy within its bound."""


class LyingGrid(InProcessGrid):
    """Puts the liar's answer in the place of what its site has trained."""

    def __init__(self, sites: Sequence[Path], attack: Attack) -> None:
        super().__init__(sites, None)
        self.attack = attack

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        asked = list(messages)
        replies = list(super().send_and_receive(asked, timeout=timeout))
        if asked[0].metadata.message_type == "train":
            self._lie(TrainRequest.unpack(asked[0].content), replies)
        return replies

    def _lie(self, request: TrainRequest, replies: Sequence[Message]) -> None:
        wire = request.experiment.strategy.wire
        answers = [TrainAnswer.unpack(reply.content, wire=wire) for reply in replies]
        number = next(i for i, answer in enumerate(answers) if answer.site == LIAR)
        honest = [a.arrays for a in answers if a.site != LIAR]
        sent, own = to_rows([request.arrays, answers[number].arrays])
        lie = from_row(self.attack(sent, to_rows(honest), own), request.arrays)
        content = replace(answers[number], arrays=lie).pack()
        replies[number].content["arrays"] = content["arrays"]


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    for kind in KINDS:
        for strategy in STRATEGIES:
            settings = load_settings([*BASE, f"strategy={strategy}", *overrides])
            cell = kept_cell(folder, settings, kind)
            print(f"{strategy:>17} {kind:>10} {cell['auroc']} in {cell['seconds']} s", flush=True)
            write_table(folder)


def kept_cell(folder: Path, settings: Settings, kind: str) -> dict[str, Any]:
    """One cell, read where it is there.

    Raises:
        SettingsError: where it was made with other settings.
    """
    path = folder / "cells" / f"{settings.strategy.name}-{kind}.json"
    plain = json.loads(json.dumps(to_plain(settings)))
    if not path.exists():
        write_json(path, {**run_cell(folder, settings, kind), "settings": plain})
    cell: dict[str, Any] = read_json(path)
    if cell["settings"] != plain:
        raise SettingsError(f"{path} was made with other settings: choose another output_dir")
    return cell


def run_cell(folder: Path, settings: Settings, kind: str) -> dict[str, Any]:
    """One strategy under one kind of attack; without a figure where the run could not go on."""
    started = time.monotonic()
    experiment, sites = prepare(folder, settings, kind)
    become_server()
    output = folder / "runs" / f"{experiment.strategy.name}-{kind}"
    output.mkdir(parents=True, exist_ok=True)
    job = Job(experiment, kind, len(sites), output, evaluate_every=settings.evaluate_every)
    grid = LyingGrid(sites, ATTACKS[kind]) if kind in ATTACKS else InProcessGrid(sites, None)
    try:
        outcome = run_rounds(grid, job)
    except IncompleteRunError:  # no site's answer was finite any more
        auroc, rounds = {"value": None, "low": None, "high": None}, 0
    else:
        counts = {site: c for site, c in outcome.test_counts["shared"].items() if site != LIAR}
        replicates = pool_replicates(counts, outcome.test_replicates["shared"])
        auroc = figures(pool(counts), experiment.classes, replicates)["auroc_macro"]
        rounds = outcome.rounds_applied
    return {
        "strategy": experiment.strategy.name,
        "attack": kind,
        "auroc": auroc["value"],
        "low": auroc["low"],
        "high": auroc["high"],
        "seed": experiment.seed,
        "rounds": rounds,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine(),
        "versions": versions(),
    }


def prepare(folder: Path, settings: Settings, kind: str) -> tuple[Experiment, list[Path]]:
    """The seven sites' folders, made once for all cells; those of swapped labels apart."""
    root = kept_hospitals(folder, settings.seed)
    rooted = replace(settings, data=replace(settings.data, root=str(root)))
    cohorts = prepare_cohorts(rooted, folder)
    flipped = kind == "label_flip"
    sites = write_site_folders(cohorts, folder / ("sites-flipped" if flipped else "sites"))
    if flipped:
        path = next(site for site in sites if site.name == LIAR) / "site.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values["data"]["label_map"] = SWAPPED
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return cohorts.experiment, sites


def write_table(folder: Path) -> None:
    """``attack.json`` and ``attack.md`` of the cells that there are."""
    cells = [read_json(path) for path in sorted((folder / "cells").glob("*.json"))]
    found = {(c["strategy"], c["attack"]): c for c in cells}
    rows = []
    for strategy in STRATEGIES:
        clean = found.get((strategy, "clean"))
        texts = [_text(found.get((strategy, kind)), clean) for kind in KINDS]
        rows.append([strategy, *texts])
    write_json(folder / "attack.json", {"schema": 1, "cells": cells})
    write_bytes(folder / "attack.md", markdown_table(["Strategy", *KINDS], rows).encode())


def _text(cell: dict[str, Any] | None, clean: dict[str, Any] | None) -> str:
    """A figure, and by how much it differs from the clean run's; bold where it falls too far."""
    if cell is None:
        return "not run"
    if cell["auroc"] is None:
        return "**destroyed**"
    if clean is None or cell["attack"] == "clean":
        return f"{cell['auroc']:.3f}"
    loss = clean["auroc"] - cell["auroc"]
    text = f"{cell['auroc']:.3f} ({-loss:+.3f})"
    return f"**{text}**" if loss > ALLOWED_LOSS else text


if __name__ == "__main__":
    run(main)
