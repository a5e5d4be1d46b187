"""The privacy ledger: what training has cost this site's patients, over the site's life.

One SQLite file for all of a site's training, whatever the run, model or experiment. Entries are
only ever added, in a hash chain sealed by the site's key (``chain.py``); what they say stands in
``entries.py``, what they cost in ``budget.py``. An append returns when the entry is on disk.

Beside the ledger lies ``ledger.head``: how many entries there were, and a digest of the file. It
is written after each append, so a ledger that is older than its head was put back, and one of the
same age that differs was altered: the site refuses both. A process killed between the two writes
leaves the head one transaction behind, which is accepted. Whoever puts back both files together is
seen by the server's witness alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from client.chain import Row, next_row, seal_of, verify
from client.entries import Entry, Genesis, read_entry, write_entry
from common.checkpoint import write_bytes
from common.errors import LedgerError

_SCHEMA = (
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, text TEXT NOT NULL, "
    "digest TEXT NOT NULL, seal TEXT NOT NULL)",
    "CREATE TRIGGER entries_stay BEFORE UPDATE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER entries_remain BEFORE DELETE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)


LAST_TRANSACTION = 2
"""Most entries of one transaction (a plan and its first round): a crash keeps them off the head."""


class Book:
    """The verified entries of an open ledger, and those about to be added."""

    def __init__(self, rows: Sequence[Row], key: bytes) -> None:
        self.rows = list(rows)
        self.added: list[Row] = []
        self._key = key

    @property
    def entries(self) -> list[Entry]:
        return [read_entry(row.text)[0] for row in self.rows]

    @property
    def times(self) -> list[str]:
        """When each entry was written, in UTC."""
        return [read_entry(row.text)[1] for row in self.rows]

    @property
    def chain(self) -> bytes:
        """Every entry's hash, 32 bytes each: what the server's witness compares."""
        return bytes.fromhex("".join(row.digest for row in self.rows))

    def append(self, entry: Entry) -> None:
        """Add an entry; it is on disk when the transaction has ended, or nowhere."""
        text = write_entry(entry, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        read_entry(text)  # what could not be read back is not written
        row = next_row(self.rows[-1] if self.rows else None, text, self._key)
        self.rows.append(row)
        self.added.append(row)


class Ledger:
    """A ledger in its folder: ``ledger.sqlite``, ``ledger.head``, ``site.key``."""

    def __init__(self, folder: Path, genesis: str | None, split: str) -> None:
        """Name a ledger; nothing is read yet.

        Args:
            folder: where its files are.
            genesis: hash of its first entry, as ``site.yaml`` has it; ``None`` before ``init``.
            split: digest of what places the site's patients in parts and leaves images out.
        """
        self.folder = folder
        self.genesis = genesis
        self.split = split
        self.path = folder / "ledger.sqlite"
        self.head_path = folder / "ledger.head"
        self.key_path = folder / "site.key"

    def create(self, genesis: Genesis) -> str:
        """Make a new ledger, with a new key, and return the hash of its first entry.

        Raises:
            LedgerError: where any file of a ledger is there already.
        """
        there = [p for p in (self.path, self.head_path, self.key_path) if p.exists()]
        if there:
            raise LedgerError(
                f"{there[0]}: is there, so this site has had a ledger; nothing was changed. Where "
                "the ledger is lost, 'fedrounds ledger recover' makes a new one"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_secret(self.key_path, os.urandom(32).hex())
        except OSError as error:
            raise LedgerError(f"{self.folder}: no ledger can be made here: {error}") from error
        with self._locked(), self._begun() as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            book = Book([], self._key())
            book.append(genesis)
            self._commit(connection, book)
        self.genesis = book.rows[0].digest
        return self.genesis

    def first_digest(self) -> str:
        """The hash of the first entry, unverified: the genesis of a ledger that was found.

        Raises:
            LedgerError: where there is none.
        """
        with self._locked(), self._begun() as connection:
            row = connection.execute("SELECT digest FROM entries WHERE sequence = 1").fetchone()
        if row is None:
            raise LedgerError(f"{self.path}: {self._refusal('it has no entry')}")
        return str(row[0])

    def salvage(self) -> tuple[list[Entry], bool]:
        """Whatever entries can still be read of a ledger that may be refused, and whether it is.

        Never for pricing a run: for beginning another ledger with a charge for this one.
        """
        try:
            return self.read().entries, False
        except LedgerError:
            entries: list[Entry] = []
        with suppress(LedgerError), self._locked(), self._begun() as connection:
            for (text,) in connection.execute("SELECT text FROM entries ORDER BY sequence"):
                with suppress(LedgerError):
                    entries.append(read_entry(text)[0])
        return entries, True

    def put_aside(self) -> None:
        """Rename every file of the ledger, so that a new one can begin; none is lost."""
        stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(2).hex()}"
        journal = self.path.with_name(f"{self.path.name}-journal")
        with self._locked():
            for path in (self.path, journal, self.head_path, self.key_path):
                if path.exists():
                    path.rename(path.with_name(f"{path.name}.before-{stamp}"))

    def read(self) -> Book:
        """Every entry, verified.

        Raises:
            LedgerError: naming the file, where anything is missing, altered or put back.
        """
        with self.transaction() as book:
            return book

    @contextmanager
    def transaction(self) -> Iterator[Book]:
        """The verified entries, with every other process kept out until the block ends.

        What is appended in the block is committed, and synced, when it ends without an error.

        Raises:
            LedgerError: where the ledger cannot be trusted, read or written.
        """
        if self.genesis is None:
            raise LedgerError(
                f"{self.path}: this site has no ledger; make one with 'fedrounds ledger init'"
            )
        if not self.path.exists():
            raise LedgerError(f"{self.path}: {self._refusal('it is missing')}")
        with self._locked(), self._begun() as connection:
            book = self._verified(connection)
            yield book
            if book.added:
                self._commit(connection, book)

    def _commit(self, connection: sqlite3.Connection, book: Book) -> None:
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            book.added,
        )
        connection.execute("COMMIT")
        self._write_head(connection, book)

    def _verified(self, connection: sqlite3.Connection) -> Book:
        query = "SELECT sequence, text, digest, seal FROM entries ORDER BY sequence"
        rows = [Row(*row) for row in connection.execute(query)]
        key = self._key()
        try:
            verify(rows, key)
            self._compare_head(rows, key, connection)
            book = Book(rows, key)
            self._check_genesis(book)
        except LedgerError as error:
            raise LedgerError(f"{self.path}: {self._refusal(str(error))}") from error
        return book

    def _check_genesis(self, book: Book) -> None:
        first, *others = book.entries
        if not isinstance(first, Genesis) or any(isinstance(e, Genesis) for e in others):
            raise LedgerError("it does not open with its one genesis")
        if book.rows[0].digest != self.genesis:
            raise LedgerError("it is another ledger than the genesis in site.yaml names")
        if first.split != self.split:
            raise LedgerError(
                "split_key, a fraction, patient_column, unit_name or exclude in site.yaml is "
                "another than when it was begun, so that patients would change sides, or images "
                "be chosen after training; put it back"
            )

    def _compare_head(
        self, rows: Sequence[Row], key: bytes, connection: sqlite3.Connection
    ) -> None:
        try:
            head = json.loads(self.head_path.read_text(encoding="utf-8"))
            facts = head["entries"], head["digest"], head["file"]
            sealed = hmac.compare_digest(head["seal"], _seal_head(*facts, key))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{self.head_path.name} is missing or cannot be read") from error
        count, digest, file = facts
        if not sealed:
            raise LedgerError(f"{self.head_path.name} is not sealed by this site's key")
        if count > len(rows):
            raise LedgerError(f"it has {len(rows)} entries and had {count}: it was put back")
        if len(rows) > count + LAST_TRANSACTION:
            raise LedgerError(f"{self.head_path.name} knows {count} entries of {len(rows)}")
        if rows[count - 1].digest != digest:
            raise LedgerError(f"entry {count} is another than it was")
        if count == len(rows) and file != _digest_of_file(connection):
            raise LedgerError("the file was altered since its last entry")

    def _write_head(self, connection: sqlite3.Connection, book: Book) -> None:
        facts = len(book.rows), book.rows[-1].digest, _digest_of_file(connection)
        head = dict(zip(("entries", "digest", "file"), facts, strict=True))
        text = json.dumps({**head, "seal": _seal_head(*facts, self._key())})
        write_bytes(self.head_path, (text + "\n").encode())

    def _key(self) -> bytes:
        try:
            key = bytes.fromhex(self.key_path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise LedgerError(
                f"{self.key_path}: {self._refusal('the key of its seals cannot be read')}"
            ) from error
        return key

    @staticmethod
    def _refusal(reason: str) -> str:
        return (
            f"the privacy ledger is refused: {reason}. This site does not train until the right "
            "file is back, or 'fedrounds ledger recover' has made a new one"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, readers too: the ledger and its head are two files."""
        try:
            stream = (self.folder / "ledger.lock").open("a")
        except OSError as error:
            raise LedgerError(f"{self.folder}: {_passing(str(error))}") from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _begun(self) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction; what is not committed is rolled back."""
        try:
            with closing(
                sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except (sqlite3.Error, OSError) as error:
            passing = isinstance(error, OSError) or any(
                word in str(error) for word in ("full", "locked", "busy", "unable to open")
            )
            text = _passing(str(error)) if passing else self._refusal(str(error))
            raise LedgerError(f"{self.path}: {text}") from error


def _passing(reason: str) -> str:
    """What to say where the ledger may be sound, and cannot be used now."""
    return (
        f"the privacy ledger cannot be read or written now: {reason}. Nothing is trained; free the "
        "disk, or end the other process, and ask again"
    )


def write_secret(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _digest_of_file(connection: sqlite3.Connection) -> str:
    """SHA-256 of the database as SQLite sees it.

    Through SQLite, since closing another handle of the file would drop this process's locks.
    """
    return hashlib.sha256(connection.serialize()).hexdigest()


def _seal_head(count: int, digest: str, file: str, key: bytes) -> str:
    return seal_of(f"{count} {digest} {file}".encode(), key)
