"""Beginning a site's ledger, and beginning it again where the old one is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from client.entries import Genesis, Plan, Release, of_kind
from client.ledger import Ledger
from client.site import Site
from common.checkpoint import write_bytes
from common.errors import LedgerError
from common.journal import append_line
from common.privacy.accounting import epsilon

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
    if ledger.path.exists() and _is_unused(ledger):
        ledger.put_aside()  # an init that was cut off: it holds nothing
    genesis = begin_ledger(site)
    if len(Ledger(ledger.folder, genesis, ledger.split).read().rows) > 1:
        raise LedgerError(
            f"{ledger.path}: holds a ledger in use, and site.yaml has no genesis: put the line "
            f"'genesis: {genesis}' back"
        )
    _write_genesis(site, genesis)
    return genesis


def recover_ledger(site: Site, assumed_epsilon: float, assumed_delta: float, reason: str) -> str:
    """``fedrounds ledger recover``: a new chain that starts with a conservative charge.

    The old files are kept under another name. What the old ledger still says is held against the
    charge: its ε, its noised releases, and who is on which side.

    Args:
        site: whose ledger it is.
        assumed_epsilon: what the site's training is taken to have spent, at ``assumed_delta``. A
            server that has seen the old ledger accepts no less than what it saw.
        assumed_delta: what is stated later is stated at a larger δ.
        reason: for the record.

    Returns:
        The new genesis.

    Raises:
        LedgerError: where the old ledger says more than is assumed, or was begun with another
            split.
    """
    ledger = site.ledger()
    entries, refused = ledger.salvage()
    begun = of_kind(entries, Genesis)
    if begun and begun[0].split != ledger.split:
        raise LedgerError(
            f"{ledger.path}: was begun with another split_key, fraction, patient_column, unit_name "
            "or exclude than site.yaml has now: a recovery may not move patients or choose images "
            "anew; put them back"
        )
    held = max((g.assumed_epsilon for g in begun), default=0.0)
    plans = [plan.charge.segment for plan in of_kind(entries, Plan)]
    if plans:
        held += epsilon(plans, assumed_delta).epsilon
    if assumed_epsilon < held:
        raise LedgerError(
            f"{ledger.path}: what can be read of it has spent ε={held:.3f} at δ={assumed_delta:g}: "
            f"--assume-spent {assumed_epsilon:g} is less"
        )
    releases = len(of_kind(entries, Release)) + sum(g.assumed_releases for g in begun)
    if refused:  # there may have been more than can be read
        releases = max(releases, site.settings.policy.evaluation_releases)
    ledger.put_aside()
    genesis = ledger.create(
        Genesis(
            site.name,
            site.split_digest(),
            os.urandom(16).hex(),
            assumed_epsilon,
            assumed_delta,
            releases,
            reason,
        )
    )
    _write_genesis(site, genesis)
    facts = {"assumed_epsilon": assumed_epsilon, "assumed_delta": assumed_delta, "reason": reason}
    append_line(site.folder / "disclosure.jsonl", {"ledger": "recovered", **facts})
    return genesis


def _is_unused(ledger: Ledger) -> bool:
    """Whether nothing but a plain genesis was ever written."""
    entries, _ = ledger.salvage()
    return all(isinstance(e, Genesis) and e.assumed_epsilon == 0 for e in entries)


def _write_genesis(site: Site, genesis: str) -> None:
    """Set the one line of ``site.yaml``, and leave the rest, comments too, as it is."""
    path: Path = site.folder / "site.yaml"
    text, line = path.read_text(encoding="utf-8"), f"genesis: {genesis}"
    if _GENESIS.search(text):
        text = _GENESIS.sub(line, text, count=1)
    else:
        text = f"{text.rstrip()}\n{line}\n"
    write_bytes(path, text.encode())
