"""How long it takes to merge the counts of many sites and to read every figure with its interval.

    python -m simulations.benchmarks.merging [--json]

Answers are those of sites as they come off the wire: 20 of them with 100,000 scores each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np

from common.metrics import Counts, Scored, count, count_replicates, figures
from common.metrics.bootstrap import Replicates, draw_patients, merge
from simulations.benchmarks.command import no_more, run, take_json

SITES, SCORES, REPLICATES = 20, 100_000, 200

Answer = tuple[Counts, dict[str, np.ndarray]]


def one_site(number: int) -> tuple[Answer, float]:
    """A site's counts and packed replicates, of one label, and the seconds that they took."""
    rng = np.random.default_rng(number)
    labels = (rng.random((SCORES, 1)) < 0.2).astype(np.float32)
    scored = Scored(rng.normal(0, 1.5, (SCORES, 1)) + 1.5 * labels, labels, multi_label=True)
    started = time.perf_counter()
    counts = count(scored)
    drawn = draw_patients("key", f"site {number}", SCORES, REPLICATES)
    packed = Replicates.pack(count_replicates(scored, drawn), counts)
    return (counts, packed.to_arrays()), time.perf_counter() - started


def merge_all(answers: Sequence[Answer]) -> float:
    """Seconds to check, merge and read them."""
    started = time.perf_counter()
    pooled = reduce(add, (counts for counts, _ in answers))
    drawn = merge(
        [(Replicates.from_arrays(arrays, counts, REPLICATES), counts) for counts, arrays in answers]
    )
    figures(pooled, tuple(map(str, range(len(pooled.positives)))), drawn)
    return time.perf_counter() - started


def main(words: Sequence[str]) -> None:
    as_json, words = take_json(words)
    no_more(words, "--json")
    answers, seconds = zip(*map(one_site, range(SITES)), strict=True)
    sizes = [sum(array.nbytes for array in arrays.values()) for _, arrays in answers]
    result = {
        "sites": SITES,
        "scores_a_site": SCORES,
        "replicates": REPLICATES,
        "seconds_at_a_site": max(seconds),
        "megabytes_of_replicates_a_site": max(sizes) / 1e6,
        "seconds_to_merge": merge_all(answers),
    }
    if as_json:
        print(json.dumps(result, indent=1))
        return
    print(
        f"{SITES} sites of {SCORES:,} scores, {REPLICATES} replicates: "
        f"at a site {result['seconds_at_a_site']:.1f} s, "
        f"{result['megabytes_of_replicates_a_site']:.1f} MB; "
        f"{result['seconds_to_merge']:.2f} s to merge and read all"
    )


if __name__ == "__main__":
    run(main)
