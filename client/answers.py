"""Answers kept as the bytes that were sent: a repeated request gets them again, at no cost.

The bytes are synced under their own digest, then the ledger's entry that names them is committed:
that commit is the one moment at which the answer exists. Each run keeps its newest
update, and every noised release.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from flwr.app import RecordDict

from client.entries import Commit, of_kind
from client.site import Site
from common.checkpoint import write_bytes
from common.errors import LedgerError
from common.messages import EvaluateRequest, Request
from common.wire import from_bytes, to_bytes


def stored_answer(site: Site, request: Request) -> RecordDict | None:
    """The answer that this very request got before: same run, round and digest.

    Raises:
        LedgerError: where it was committed and its bytes are gone or altered.
    """
    asked = (request.run_id, request.server_round, request.digest)
    found = of_kind(
        site.ledger().read().entries,
        Commit,
        lambda c: (c.run_id, c.server_round, c.request) == asked,
    )
    if not found:
        return None
    path = _path(site, request, found[-1].answer)
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != found[-1].answer:
        raise LedgerError(f"{path}: the stored answer to this request is gone or was altered")
    return from_bytes(data)


def store_answer(site: Site, request: Request, answer: RecordDict) -> None:
    """Keep an answer, and commit it to the ledger, before it is sent.

    Raises:
        LedgerError: where either could not be written; nothing may be sent then.
    """
    data = to_bytes(answer)
    digest = hashlib.sha256(data).hexdigest()
    path = _path(site, request, digest)
    try:
        write_bytes(path, data)
    except OSError as error:
        raise LedgerError(f"{path}: the answer cannot be stored ({error})") from error
    with site.ledger().transaction() as book:
        book.append(Commit(request.run_id, request.server_round, request.digest, digest))
    if isinstance(request, EvaluateRequest):
        return  # as few as the policy's releases, and each a different model's
    for old in path.parent.glob(f"{_stem(request)}-*.bin"):
        if old != path:
            old.unlink(missing_ok=True)


def _path(site: Site, request: Request, digest: str) -> Path:
    return site.folder / "answers" / f"{_stem(request)}-{digest[:16]}.bin"


def _stem(request: Request) -> str:
    """A file name for a run and a kind of request; the run's id is whatever the server chose."""
    name = f"{type(request).__name__} {request.run_id}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]
