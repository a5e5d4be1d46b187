"""Whether a site's memory and disk grow: 200 rounds under privacy, three phantom hospitals.

    python -m simulations.benchmarks.soak [--json]

One worker process runs every site's handlers in all rounds, so what they left in memory would add
up there (a deployed site has a new process for each message). What a site must keep grows with
each round that it takes: its ledger, its log of what it let out, and 64 bytes in the one answer
that is kept, which shows the hash of every entry of the ledger, two a round. Nothing else may.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.compose import load_settings
from server.job import Job, Silent
from server.rounds import run_rounds
from simulations.benchmarks.command import no_more, run, take_json
from simulations.benchmarks.timing import machine
from simulations.flower import become_server
from simulations.hospitals import SMALL_HOSPITALS, write_hospitals
from simulations.inprocess import InProcessGrid
from simulations.loopback import processes
from simulations.sites import prepare_cohorts, write_site_folders
from simulations.workers import WorkerPool

WORDS = (
    "experiment=phantom", "local_steps=2", "model.width=4", "strategy.batch_size=8",
    "privacy.delta=1e-3", "privacy.public_patients=30",
)  # fmt: skip
ROUNDS = 200
EVERY = 10
"""Rounds between two samples."""
RECORD = ("ledger.sqlite", "disclosure.jsonl")
"""A site's files that grow with each round."""


@dataclass(frozen=True)
class Sample:
    """What there was after a round."""

    server_round: int
    worker_kib: int
    """Resident memory of the worker."""
    record: Mapping[str, int]
    """Bytes of :data:`RECORD`, by site."""
    other: Mapping[str, int]
    """Bytes of everything else in the site's folder."""


@dataclass
class Sampler(Silent):
    """Progress that takes a sample every so many rounds."""

    sites: Sequence[Path]
    every: int
    samples: list[Sample] = field(default_factory=list)

    def round_done(self, line: Mapping[str, Any]) -> None:
        if line["round"] % self.every:
            return
        workers = {worker.pid for worker in multiprocessing.active_children()}
        kib = sum(p.resident_kib for p in processes() if p.pid in workers)
        record, other = {}, {}
        for site in self.sites:
            sizes = {p: p.stat().st_size for p in site.rglob("*") if p.is_file()}
            record[site.name] = sum(size for p, size in sizes.items() if p.name in RECORD)
            other[site.name] = sum(sizes.values()) - record[site.name]
        self.samples.append(Sample(line["round"], kib, record, other))


def soak(folder: Path, rounds: int, every: int) -> list[Sample]:
    """Train in ``folder``, whose site folders are kept, and sample every ``every`` rounds.

    Samples are to be three or more, so that their second half is some rounds long.
    """
    root = folder / "hospitals"
    write_hospitals(root, 0, SMALL_HOSPITALS)
    settings = load_settings([*WORDS, f"rounds={rounds}", f"data.root={root}"])
    cohorts = prepare_cohorts(settings, folder)
    sites = write_site_folders(cohorts, folder / "sites")
    sampler = Sampler(sites, every)
    job = Job(cohorts.experiment, "soak", len(sites), folder, progress=sampler)
    become_server()
    pool = WorkerPool(1)
    try:
        run_rounds(InProcessGrid(sites, pool), job)
    finally:
        pool.close()
    return sampler.samples


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """What a round adds, from the middle sample to the last: KiB of memory, bytes of the sites."""
    first, last = samples[len(samples) // 2], samples[-1]
    rounds = last.server_round - first.server_round
    return {
        "worker_kib": (last.worker_kib - first.worker_kib) / rounds,
        "record_bytes": _most(last.record, first.record) / rounds,
        "other_bytes": _most(last.other, first.other) / rounds,
    }


def _most(last: Mapping[str, int], first: Mapping[str, int]) -> int:
    """Of the site that grew most."""
    return max(last[site] - first[site] for site in last)


def main(words: Sequence[str]) -> None:
    """Run and print."""
    as_json, words = take_json(words)
    no_more(words, "--json")
    with tempfile.TemporaryDirectory() as folder:
        samples = soak(Path(folder), ROUNDS, EVERY)
    grown, about = growth(samples), machine()
    if as_json:
        rows = [asdict(sample) for sample in samples]
        print(json.dumps({"benchmark": "soak", **about, "growth": grown, "rounds": rows}, indent=1))
        return
    table = Table("round", "worker, MiB", *(f"{s}, KiB: record + other" for s in samples[0].other))
    for s in samples:
        sizes = (f"{s.record[n] / 1024:.0f} + {s.other[n] / 1024:.0f}" for n in s.other)
        table.add_row(str(s.server_round), f"{s.worker_kib / 1024:.1f}", *sizes)
    console = Console(soft_wrap=True, width=140)
    console.print(table)
    console.print(
        f"in the second half a round adds {grown['worker_kib']:.1f} KiB of memory, and to a site "
        f"at most {grown['record_bytes']:.0f} bytes of record ({', '.join(RECORD)}) and "
        f"{grown['other_bytes']:.0f} of anything else",
        highlight=False,
    )
    console.print(", ".join(f"{k} {v}" for k, v in about.items()), highlight=False)


if __name__ == "__main__":
    run(main)
