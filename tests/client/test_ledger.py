"""The ledger: append-only, one unit, intent first, and it composes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from client.ledger import Charge, Ledger
from common.errors import LedgerError
from common.privacy.accounting import Segment, epsilon

PLAN = Charge("patient", 0.1, 1.2, 1.0, 40)
ROUND = Charge("patient", 0.1, 1.2, 1.0, 10)


def test_an_intent_is_what_is_priced(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.spent(1e-5, "prv").epsilon == 0.0
    ledger.write_plan("run", PLAN)
    assert ledger.spent(1e-5, "prv").epsilon == 0.0
    ledger.write_intent("run", 1, ROUND)
    assert ledger.spent(1e-5, "prv") == epsilon([Segment(0.1, 1.2, 10)], 1e-5)
    ledger.write_commit("run", 1, ROUND)
    assert ledger.spent(1e-5, "prv") == epsilon([Segment(0.1, 1.2, 10)], 1e-5)


def test_runs_restarts_and_new_run_ids_compose_to_the_single_figure(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    spent = []
    for number in range(6):
        Ledger(path).write_intent(f"run{number // 2}", number, ROUND)  # opened anew each time
        spent.append(Ledger(path).spent(1e-5, "prv").epsilon)
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(epsilon([Segment(0.1, 1.2, 60)], 1e-5).epsilon, abs=0.02)
    run = Ledger(path).spent(1e-5, "prv", "run1").epsilon
    assert run == epsilon([Segment(0.1, 1.2, 20)], 1e-5).epsilon


def test_the_plan_is_the_first_that_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.plan("run") is None
    ledger.write_plan("run", PLAN)
    assert ledger.plan("run") == PLAN
    assert ledger.plan("other") is None


@pytest.mark.parametrize("statement", ["DELETE FROM entries", "UPDATE entries SET steps = 1"])
def test_entries_can_neither_change_nor_go(tmp_path: Path, statement: str) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.write_intent("run", 1, ROUND)
    with (
        closing(sqlite3.connect(ledger.path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)


def test_units_never_mix(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.write_intent("run", 1, ROUND)
    for write in (ledger.write_plan, lambda run, charge: ledger.write_intent(run, 2, charge)):
        with pytest.raises(LedgerError, match="units never mix"):
            write("other", Charge("image", 0.1, 1.2, 1.0, 10))
    ledger.write_intent("run", 2, ROUND)  # a refused request does not lock the ledger


def test_impossible_entries_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for bad in (Charge("patient", 0.1, 1.2, 1.0, -5), Charge("patient", 0.1, 0.0, 1.0, 5)):
        with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
            ledger.write_intent("run", 1, bad)
    assert ledger.history() == []


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, certainly" * 50)
    with pytest.raises(LedgerError, match="does not train"):
        Ledger(path).write_intent("run", 1, ROUND)
