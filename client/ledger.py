"""The privacy ledger: what training has cost this site's patients, over the site's life.

One SQLite file for all of a site's training, whatever the run, model or experiment. Rows are only
ever added. A round's *intent* is written, and synced to disk, before its first batch is read, and
it is the intent that is priced: a crash between intent and answer counts as spent. A *plan* fixes
a run's σ and q before its first batch, so that later rounds need no planning of their own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError
from common.privacy.accounting import Accountant, Segment, Spent, epsilon

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    written_at REAL NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('plan', 'intent', 'commit')),
    run_id TEXT NOT NULL,
    server_round INTEGER NOT NULL,
    unit TEXT NOT NULL,
    sample_rate REAL NOT NULL CHECK (sample_rate > 0 AND sample_rate <= 1),
    noise_multiplier REAL NOT NULL CHECK (noise_multiplier > 0),
    max_grad_norm REAL NOT NULL CHECK (max_grad_norm > 0),
    steps INTEGER NOT NULL CHECK (steps > 0)
);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""

_COLUMNS = "unit, sample_rate, noise_multiplier, max_grad_norm, steps"


@dataclass(frozen=True)
class Charge:
    """The public constants of some noisy steps: what one entry of the ledger is about."""

    unit: str
    """What the site's id column identifies, such as ``patient`` or ``lesion``, or ``image``."""
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    steps: int


class Ledger:
    """The ledger in one file; made when it is first written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def plan(self, run_id: str) -> Charge | None:
        """The plan of a run, or ``None`` where it has none yet."""
        rows = self._charges("kind = 'plan' AND run_id = ?", run_id)
        return rows[0] if rows else None

    def write_plan(self, run_id: str, charge: Charge) -> None:
        """Fix a run's plan (its ``steps`` are the whole run's) before its first batch."""
        self._append("plan", run_id, 0, charge)

    def write_intent(self, run_id: str, server_round: int, charge: Charge) -> None:
        """Charge a round; returns only when the entry is on disk. Call before reading a batch.

        Raises:
            LedgerError: where the entry could not be written, or another unit stands in the ledger.
        """
        self._append("intent", run_id, server_round, charge)

    def write_commit(self, run_id: str, server_round: int, charge: Charge) -> None:
        """Note that a round's answer is about to be sent."""
        self._append("commit", run_id, server_round, charge)

    def history(self, run_id: str | None = None, except_run: str = "") -> list[Segment]:
        """Every step charged: of one run, of all but one, or of the ledger's whole life."""
        if run_id is not None:
            charges = self._charges("kind = 'intent' AND run_id = ?", run_id)
        else:
            charges = self._charges("kind = 'intent' AND run_id <> ?", except_run)
        return [Segment(c.sample_rate, c.noise_multiplier, c.steps) for c in charges]

    def spent(self, delta: float, accountant: Accountant, run_id: str | None = None) -> Spent:
        """ε of one run, or of everything this ledger holds, at ``delta``."""
        return epsilon(self.history(run_id), delta, accountant)

    def _append(self, kind: str, run_id: str, server_round: int, charge: Charge) -> None:
        values = (time.time(), kind, run_id, server_round, *vars(charge).values())
        with self._open() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")  # what is checked is what is added to
            held = {unit for (unit,) in connection.execute("SELECT DISTINCT unit FROM entries")}
            if held - {charge.unit}:
                raise LedgerError(
                    f"{self.path}: holds figures of the unit {sorted(held)}, and '{charge.unit}' "
                    "was asked: units never mix in one ledger"
                )
            connection.execute(
                "INSERT INTO entries (written_at, kind, run_id, server_round, "
                f"{_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def _charges(self, where: str, *values: str) -> list[Charge]:
        if not self.path.exists():
            return []
        query = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY sequence"
        with self._open() as connection:
            return [Charge(*row) for row in connection.execute(query, values)]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose commits are synced to disk before they return."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=30.0)) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.executescript(_SCHEMA)
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"{self.path}: the privacy ledger cannot be read or written ({error}); "
                "this site does not train until it can"
            ) from error
