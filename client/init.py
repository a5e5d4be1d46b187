"""Beginning a site's ledger, and beginning it again where the old one is refused."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from client.disclosure import append_line
from client.entries import Genesis
from client.ledger import Ledger
from client.site import Site
from common.checkpoint import write_bytes
from common.errors import LedgerError

_GENESIS = re.compile(r"^genesis:.*$", re.MULTILINE)


def begin_ledger(site: Site) -> str:
    """Make a site's ledger, or find the one that its ``ledger_dir`` holds; returns its genesis.

    Raises:
        LedgerError: where the ledger that is there is refused, or none can be made.
    """
    ledger = site.ledger()
    if not ledger.path.exists():
        return ledger.create(Genesis(site.name, site.split_digest(), os.urandom(16).hex()))
    found = ledger.first_digest()
    Ledger(ledger.folder, found, ledger.split).read()
    return found


def init_ledger(site: Site) -> str:
    """``fedrounds ledger init``: make a ledger, and write its genesis into ``site.yaml``.

    Raises:
        LedgerError: where the site has one, or had one.
    """
    ledger = site.ledger()
    if site.settings.genesis is not None:
        raise LedgerError(
            f"{site.folder / 'site.yaml'}: its genesis says that this site has a ledger; where it "
            "is lost, 'fedrounds ledger recover' makes a new one"
        )
    genesis = begin_ledger(site)
    if len(Ledger(ledger.folder, genesis, ledger.split).read().rows) > 1:
        raise LedgerError(
            f"{ledger.path}: holds a ledger in use, and site.yaml has no genesis: put the line "
            f"'genesis: {genesis}' back"
        )
    _write_genesis(site, genesis)
    return genesis


def recover_ledger(site: Site, assumed_epsilon: float, reason: str) -> str:
    """``fedrounds ledger recover``: a new chain that starts with a conservative charge.

    The old files are kept under another name. ``assumed_epsilon`` is what the site's training is
    taken to have spent, at half of any δ that is asked for later; a server that has seen the old
    ledger accepts the new one only where it is at least the ε that it saw.

    Returns:
        The new genesis.
    """
    ledger = site.ledger()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    journal = ledger.path.with_name(f"{ledger.path.name}-journal")
    for path in (ledger.path, journal, ledger.head_path, ledger.key_path):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.before-{stamp}"))
    genesis = ledger.create(
        Genesis(site.name, site.split_digest(), os.urandom(16).hex(), assumed_epsilon, reason)
    )
    _write_genesis(site, genesis)
    append_line(
        site.folder / "disclosure.jsonl",
        {"ledger": "recovered", "assumed_epsilon": assumed_epsilon, "reason": reason},
    )
    return genesis


def _write_genesis(site: Site, genesis: str) -> None:
    """Set the one line of ``site.yaml``, and leave the rest, comments too, as it is."""
    path: Path = site.folder / "site.yaml"
    text, line = path.read_text(encoding="utf-8"), f"genesis: {genesis}"
    if _GENESIS.search(text):
        text = _GENESIS.sub(line, text, count=1)
    else:
        text = f"{text.rstrip()}\n{line}\n"
    write_bytes(path, text.encode())
