"""Worker processes: how many, and where their fork server imports from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulations.inprocess import balanced_workers
from simulations.warm import PROJECT, imported_from_here


@pytest.mark.parametrize(
    ("sites", "at_once", "workers"),
    [(1, 1, 1), (9, 1, 1), (2, 2, 2), (3, 2, 3), (4, 2, 2), (5, 2, 3), (7, 2, 2), (6, 4, 6)],
)
def test_no_core_is_idle_for_longer_than_it_must(sites: int, at_once: int, workers: int) -> None:
    assert balanced_workers(sites, at_once) == workers


def test_a_fork_server_finds_these_packages_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    with imported_from_here():
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(PROJECT), "/elsewhere"]
        assert os.environ["PYTHONSAFEPATH"]
    assert dict(os.environ) == before
    assert (Path(PROJECT) / "client" / "app.py").is_file()
