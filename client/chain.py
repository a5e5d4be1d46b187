"""The chain of a ledger's entries: each one's hash covers all before it, each is sealed by a key.

hashᵢ = SHA-256(hashᵢ₋₁ ‖ textᵢ), from 32 zero bytes; sealᵢ = HMAC-SHA-256(key, hashᵢ). Whoever
lacks the key can change no entry, drop none but the last, and add none. Whoever holds folder and
key can write another chain: only a witness elsewhere sees that (``server/witness.py``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from common.errors import LedgerError

START = bytes(32)


class Row(NamedTuple):
    """An entry as it is stored; ``digest`` and ``seal`` in hexadecimal."""

    sequence: int
    text: str
    digest: str
    seal: str


def next_row(previous: Row | None, text: str, key: bytes) -> Row:
    """The row that carries ``text`` behind ``previous``."""
    before = START if previous is None else bytes.fromhex(previous.digest)
    digest = hashlib.sha256(before + text.encode()).digest()
    sequence = 1 if previous is None else previous.sequence + 1
    return Row(sequence, text, digest.hex(), seal_of(digest, key))


def seal_of(data: bytes, key: bytes) -> str:
    return hmac.digest(key, data, "sha256").hex()


def verify(rows: Sequence[Row], key: bytes) -> None:
    """Check every link and every seal.

    Raises:
        LedgerError: naming the first entry that breaks the chain.
    """
    before = START
    for sequence, row in enumerate(rows, start=1):
        if row.sequence != sequence:
            raise LedgerError(f"entry {sequence} is missing: {row.sequence} stands there")
        before = hashlib.sha256(before + row.text.encode()).digest()
        if row.digest != before.hex():
            raise LedgerError(f"entry {sequence} breaks the chain: it was altered")
        if not hmac.compare_digest(row.seal, seal_of(before, key)):
            raise LedgerError(f"entry {sequence} is not sealed by this site's key")
