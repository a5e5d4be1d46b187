"""How long an append to a privacy ledger takes, synced to disk, as the ledger grows.

    python -m simulations.benchmarks.ledger [--json] [folder=PATH]

``folder`` is on the disk to measure; by default the system's folder for temporary files.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from client.entries import Charge, Genesis, Intent, Plan
from client.ledger import Ledger
from simulations.benchmarks.command import no_more, run, take_json, take_word

LENGTHS = (10, 100, 1_000, 2_000)
REPEATS = 20


def measure(folder: Path) -> list[dict[str, float]]:
    """Milliseconds of one append (read, verify, write, sync) at several lengths of the ledger."""
    ledger = Ledger(folder, None, "benchmark")
    ledger.create(Genesis("benchmark", "benchmark", "nonce"))
    with ledger.transaction() as book:
        book.append(Plan("run", Charge("patient", 0.1, 1.13, 1.0, 100_000), 1e-5, "prv", False))
    rows = []
    for length in LENGTHS:
        with ledger.transaction() as book:
            for number in range(len(book.rows), length):
                book.append(Intent("run", number, "0" * 64, 10))
        seconds = []
        for number in range(REPEATS):
            started = time.perf_counter()
            with ledger.transaction() as book:
                book.append(Intent("run", number, "0" * 64, 10))
            seconds.append(time.perf_counter() - started)
        rows.append(
            {
                "entries": length,
                "median_ms": 1e3 * statistics.median(seconds),
                "max_ms": 1e3 * max(seconds),
            }
        )
    return rows


def main(words: Sequence[str]) -> None:
    as_json, words = take_json(words)
    parent, words = take_word(words, "folder", "")
    no_more(words, "folder=PATH", "--json")
    with tempfile.TemporaryDirectory(dir=parent or None) as folder:
        rows = measure(Path(folder))
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['entries']:>6} entries: median {row['median_ms']:.1f} ms, "
            f"most {row['max_ms']:.1f} ms over {REPEATS} appends"
        )


if __name__ == "__main__":
    run(main)
