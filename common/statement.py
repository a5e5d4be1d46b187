"""What a site says of its privacy ledger, beside an answer: figures, and a hash for each entry."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from flwr.app import ConfigRecord, RecordDict

from common.errors import MessageError

HASH_BYTES = 32
MAX_ENTRIES = 200_000
"""Entries of a ledger whose chain is still read."""


@dataclass(frozen=True)
class PrivacyStatement:
    """What a site's ledger says: each figure follows from public constants and recorded steps."""

    epsilon_run: float
    """This run's whole plan alone."""
    epsilon: float
    """Everything that the ledger holds, over its life."""
    epsilon_rdp: float
    """The same by the sum of Rényi divergences."""
    epsilon_recovery: float
    """The same at half of δ: what a ledger that is lost has to be recovered with."""
    epsilon_max: float
    """The site's cap, which holds even where plans were chosen on results; 0 where it has none."""
    composition: str
    """``one plan``, or ``across plans`` where ``epsilon`` takes them as fixed beforehand."""
    delta: float
    unit: str
    adjacency: str
    accountant: str
    noise_multiplier: float
    sample_rate: float
    steps: int
    max_grad_norm: float
    assumed_epsilon: float
    """What a recovered ledger is assumed to have spent before; part of both life figures."""


_KINDS: dict[str, tuple[type, ...]] = {"float": (float, int), "int": (int,), "str": (str,)}


@dataclass(frozen=True)
class ReleaseStatement:
    """What noised counts have cost each patient of the test part, over the ledger's life."""

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    accountant: str
    noise_multiplier: float
    releases: int


S = TypeVar("S", PrivacyStatement, ReleaseStatement)


def pack_ledger(content: RecordDict, statement: PrivacyStatement | None, chain: bytes) -> None:
    """Add what a ledger says to an answer's content."""
    pack_statement(content, "privacy", statement)
    if chain:
        content["ledger"] = ConfigRecord({"chain": chain})


def unpack_ledger(content: RecordDict) -> tuple[PrivacyStatement | None, bytes]:
    """Read what a ledger says, and the hashes of its entries, empty where there are none.

    Raises:
        MessageError: where a field is missing, of another type, negative or not finite.
    """
    chain: object = b""
    if "ledger" in content.config_records:
        chain = content.config_records["ledger"].get("chain")
    if (
        not isinstance(chain, bytes)
        or len(chain) % HASH_BYTES
        or len(chain) > HASH_BYTES * MAX_ENTRIES
    ):
        raise MessageError("ledger: expected a chain of SHA-256 hashes")
    return unpack_statement(content, "privacy", PrivacyStatement), chain


def pack_statement(
    content: RecordDict, key: str, statement: PrivacyStatement | ReleaseStatement | None
) -> None:
    """Add a statement to an answer's content, under its own record."""
    if statement is not None:
        content[key] = ConfigRecord(dict(vars(statement)))


def unpack_statement(content: RecordDict, key: str, kind: type[S]) -> S | None:
    """Read a statement, where there is one.

    Raises:
        MessageError: where a field is missing, of another type, negative or not finite.
    """
    record = content.config_records.get(key)
    if record is None:
        return None
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = record.get(field.name)
        if not isinstance(value, _KINDS[str(field.type)]) or isinstance(value, bool):
            raise MessageError(f"{key}: expected '{field.name}', a {field.type}")
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
            raise MessageError(f"{key}: '{field.name}' is negative or not finite")
        values[field.name] = value
    return kind(**values)
