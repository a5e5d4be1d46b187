"""A site's folder grows by its record alone, however many rounds it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.benchmarks.soak import growth, soak


@pytest.mark.integration
def test_a_site_keeps_its_record_and_one_answer(tmp_path: Path) -> None:
    samples = soak(tmp_path, rounds=3, every=1)
    assert [sample.server_round for sample in samples] == [1, 2, 3]
    assert all(sample.worker_kib > 50_000 for sample in samples)  # the worker that has torch
    grown = growth(samples)
    assert 0 < grown["record_bytes"] < 20_000
    assert 0 <= grown["other_bytes"] <= 64  # the hashes of two entries a round
