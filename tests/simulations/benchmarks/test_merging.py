"""Merging is quick enough for many large sites."""

from __future__ import annotations

import time

import numpy as np

from common.metrics import Scored, count, count_replicates
from common.metrics.bootstrap import Replicates, draw_patients
from simulations.benchmarks.merging import REPLICATES, SCORES, SITES, merge_all


def test_twenty_sites_of_a_hundred_thousand_scores_and_seven_classes_merge_in_seconds() -> None:
    """Every site is the same one, and its replicates are four over and over: both cost the same."""
    rng = np.random.default_rng(0)
    labels = np.eye(7, dtype=np.float32)[rng.integers(0, 7, SCORES)]
    scored = Scored(rng.normal(0, 1.5, labels.shape) + 1.5 * labels, labels, multi_label=False)
    counts = count(scored)
    four = count_replicates(scored, draw_patients("key", "site test", SCORES, 4))
    packed = Replicates.pack(four, counts).to_arrays()
    arrays = {name: np.tile(a, (REPLICATES // 4, 1)) for name, a in packed.items()}
    started = time.process_time()
    merge_all([(counts, arrays)] * SITES)
    assert time.process_time() - started < 5
