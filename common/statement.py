"""What a site says of its privacy ledger, beside an answer: figures, and a hash for each entry."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

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
    epsilon_adaptive: float
    """The same by RDP: it holds even where later plans were chosen on earlier results."""
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


def pack_ledger(content: RecordDict, statement: PrivacyStatement | None, chain: bytes) -> None:
    """Add what a ledger says to an answer's content."""
    if statement is not None:
        content["privacy"] = ConfigRecord(dict(vars(statement)))
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
    return _unpack_statement(content), chain


def _unpack_statement(content: RecordDict) -> PrivacyStatement | None:
    record = content.config_records.get("privacy")
    if record is None:
        return None
    values: dict[str, Any] = {}
    for field in fields(PrivacyStatement):
        value = record.get(field.name)
        if not isinstance(value, _KINDS[str(field.type)]) or isinstance(value, bool):
            raise MessageError(f"privacy: expected '{field.name}', a {field.type}")
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
            raise MessageError(f"privacy: '{field.name}' is negative or not finite")
        values[field.name] = value
    return PrivacyStatement(**values)
