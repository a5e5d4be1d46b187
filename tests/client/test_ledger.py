"""The ledger: append-only, sealed, and refused when anything was altered, lost or put back."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from client.chain import next_row
from client.entries import Charge, Commit, Genesis, Intent, Plan, Release
from client.ledger import Ledger
from common.errors import LedgerError

PLAN = Plan("run", Charge("patient", 0.1, 1.2, 1.0, 40), 1e-5, "prv", False)
SPLIT = "a split"


def intent(number: int, steps: int = 10) -> Intent:
    return Intent("run", number, f"request {number}", steps)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A genesis, a plan, three intents and a commit."""
    ledger = Ledger(tmp_path / "site", None, SPLIT)
    ledger.create(Genesis("clinic", SPLIT, "nonce"))
    with ledger.transaction() as book:
        book.append(PLAN)
    for number in (1, 2, 3):
        with ledger.transaction() as book:
            book.append(intent(number))
    with ledger.transaction() as book:
        book.append(Commit("run", 3, "request 3", "answer"))
    return ledger


def refused(ledger: Ledger, match: str) -> None:
    """The ledger is neither read nor written, and names its file."""
    for use in (ledger.read, lambda: append(ledger, intent(4))):
        with pytest.raises(LedgerError, match=match) as error:
            use()
        assert str(ledger.folder) in str(error.value)
        assert "does not train" in str(error.value)


def append(ledger: Ledger, *entries: object) -> None:
    with ledger.transaction() as book:
        for entry in entries:
            book.append(entry)  # type: ignore[arg-type]


def test_entries_come_back_as_they_were_written(ledger: Ledger) -> None:
    again = Ledger(ledger.folder, ledger.genesis, SPLIT).read()
    assert again.entries[1:4] == [PLAN, intent(1), intent(2)]
    assert len(again.chain) == 6 * 32
    assert [t[-1] for t in again.times] == ["Z"] * 6


def test_what_is_not_finished_is_not_written(ledger: Ledger) -> None:
    def half() -> None:
        with ledger.transaction() as book:
            book.append(intent(4))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert len(ledger.read().rows) == 6


@pytest.mark.parametrize(
    "entry",
    [
        intent(4, steps=-5),
        intent(4, steps=0),
        Plan("run", Charge("patient", 0.1, 1.2, 1.0, -40), 1e-5, "prv", False),
        Plan("run", Charge("patient", 0.1, 0.0, 1.0, 40), 1e-5, "prv", False),
        Plan("run", Charge("patient", 1.5, 1.2, 1.0, 40), 1e-5, "prv", False),
        Plan("run", Charge("patient", 0.1, 1.2, 1.0, 40), 0.0, "prv", False),
        Release("run", 4, "request", "patient", -1.0, 1e-5),
        Genesis("clinic", SPLIT, "nonce", -8.0, 1e-5),
    ],
)
def test_impossible_entries_are_never_written(ledger: Ledger, entry: object) -> None:
    with pytest.raises(LedgerError, match="impossible"):
        append(ledger, entry)
    assert len(ledger.read().rows) == 6


def test_negative_steps_are_refused_even_when_sealed_by_the_key(ledger: Ledger) -> None:
    """A holder of folder and key forges the chain and its head; what it says is still refused."""
    rows = ledger.read().rows
    text = rows[-1].text.replace('"kind":"commit"', '"kind":"intent"')
    text = text.replace('"answer":"answer"', '"steps":-40')
    row = next_row(rows[-1], text, bytes.fromhex(ledger.key_path.read_text()))
    change(ledger, "INSERT INTO entries VALUES (?, ?, ?, ?)", *row)
    refused(ledger, "impossible steps")


@pytest.mark.parametrize("statement", ["DELETE FROM entries", "UPDATE entries SET text = ''"])
def test_entries_can_neither_change_nor_go(ledger: Ledger, statement: str) -> None:
    with (
        closing(sqlite3.connect(ledger.path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)


def change(ledger: Ledger, statement: str, *values: object) -> None:
    """Change the file as one would who drops the triggers first."""
    with closing(sqlite3.connect(ledger.path)) as connection:
        for trigger in ("entries_stay", "entries_remain"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement, values)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("UPDATE entries SET text = replace(text, '1.2', '9.2') WHERE sequence = 2", "entry 2"),
        ("DELETE FROM entries WHERE sequence = 3", "entry 3 is missing"),
        ("DELETE FROM entries WHERE sequence = 6", "has 5 entries and had 6"),
        ("DELETE FROM entries", "opens? with|has 0 entries"),
        ("UPDATE entries SET seal = digest WHERE sequence = 4", "entry 4 is not sealed"),
        ("UPDATE entries SET sequence = 9 WHERE sequence = 6", "entry 6 is missing: 9"),
        ("CREATE TABLE other (x)", "altered since its last entry"),
    ],
)
def test_changes_through_sql_are_refused(ledger: Ledger, statement: str, match: str) -> None:
    change(ledger, statement)
    refused(ledger, match)


def put_back(ledger: Ledger) -> None:
    shutil.copy(ledger.path, ledger.folder / "backup")
    append(ledger, intent(4))
    shutil.copy(ledger.folder / "backup", ledger.path)


def another(ledger: Ledger) -> None:
    """A fresh ledger of the same site."""
    for path in (ledger.path, ledger.head_path, ledger.key_path):
        path.unlink()
    Ledger(ledger.folder, None, SPLIT).create(Genesis("clinic", SPLIT, "another"))


def rewrite_head(ledger: Ledger) -> None:
    text = ledger.head_path.read_text()
    ledger.head_path.write_text(text.replace('"entries": 6', '"entries": 5'))


HARM: dict[str, tuple[Callable[[Ledger], object], str]] = {
    "deleted": (lambda x: x.path.unlink(), "it is missing"),
    "emptied": (lambda x: x.path.write_bytes(b""), "no such table"),
    "truncated": (lambda x: x.path.write_bytes(x.path.read_bytes()[:4096]), "ledger"),
    "foreign": (lambda x: x.path.write_bytes(b"no database" * 500), "not a database"),
    "put back": (put_back, "has 6 entries and had 7"),
    "another": (another, "another ledger"),
    "head deleted": (lambda x: x.head_path.unlink(), "ledger.head is missing"),
    "head rewritten": (rewrite_head, "ledger.head is not sealed"),
    "key deleted": (lambda x: x.key_path.unlink(), "key of its seals"),
    "key changed": (lambda x: x.key_path.write_text("00" * 32), "entry 1 is not sealed"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_ledger_that_came_to_harm_is_refused(ledger: Ledger, name: str) -> None:
    harm, match = HARM[name]
    harm(ledger)
    refused(ledger, match)


def test_every_flipped_bit_is_seen(ledger: Ledger) -> None:
    """Anywhere in the file: in an entry, in the schema, in the space between."""
    whole = ledger.path.read_bytes()
    dice = random.Random(0)
    for place in [16, 100, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(60))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << dice.randrange(8)
        ledger.path.write_bytes(flipped)
        with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
            ledger.read()
    ledger.path.write_bytes(whole)
    assert len(ledger.read().rows) == 6


def test_a_changed_split_is_refused(ledger: Ledger) -> None:
    refused(Ledger(ledger.folder, ledger.genesis, "another split"), "change sides")


def test_a_head_one_transaction_behind_is_what_a_crash_leaves(ledger: Ledger) -> None:
    head = ledger.head_path.read_bytes()
    append(ledger, intent(4), intent(5))
    ledger.head_path.write_bytes(head)
    append(ledger, intent(6))
    assert len(ledger.read().rows) == 9
    ledger.head_path.write_bytes(head)
    refused(ledger, "knows 6 entries of 9")


def test_a_ledger_is_made_once(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="has had a ledger"):
        ledger.create(Genesis("clinic", SPLIT, "nonce"))
    assert len(ledger.read().rows) == 6


def test_a_site_without_a_ledger_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="fedrounds ledger init"):
        Ledger(tmp_path, None, SPLIT).read()
