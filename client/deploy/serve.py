"""``fedrounds client SITE``: keeps a site connected, until it is told to stop."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from client.deploy.approvals import decide
from client.deploy.certificate import tls_context
from client.deploy.connection import Connection
from client.deploy.consortium import Membership
from client.deploy.flags import Flag
from client.deploy.keys import key_fingerprint
from common.errors import SettingsError
from common.journal import Follower, Journal, user
from common.processes import Children, only_one, terminated_like_ctrl_c
from common.schema import read_yaml

LOCK = "client.lock"
LOOK_SECONDS = 0.5


def serve(folder: Path) -> None:
    """Serve until interrupted, or the site has left.

    Raises:
        SettingsError: where the folder lacks something.
        JoinError: where the server refuses this site, or is not who it should be.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, with every process ended.
    """
    membership, fingerprint = prepare(folder)
    journal = Journal(folder)
    with terminated_like_ctrl_c(), only_one(folder / LOCK, "a client"):
        journal.audit("started", address=membership.address, key=fingerprint)
        try:
            with Children(journal) as children:
                connection = Connection(folder, membership, fingerprint, journal, children)
                with closing(connection):
                    _keep(connection, folder, journal)
        except BaseException as error:
            journal.audit("stopped", reason=str(error) or type(error).__name__)
            raise
        journal.audit("stopped", reason="left")


def prepare(folder: Path) -> tuple[Membership, str]:
    """Check what a start needs: settings, key, certificate; returns the key's fingerprint too.

    Raises:
        SettingsError: naming what is wrong.
    """
    membership = Membership.open(folder)
    name = _name_in_settings(folder)
    if name != membership.site:
        raise SettingsError(
            f"{folder / 'site.yaml'}: name: expected '{membership.site}', as consortium.yaml has "
            f"it, got '{name}'"
        )
    tls_context(folder, membership)
    left = Flag(folder, "left")
    if left.is_set():
        raise SettingsError(
            f"{left.path}: this site has left the consortium; 'fedrounds client resume {folder}' "
            "joins it again"
        )
    return membership, key_fingerprint(folder)


def _name_in_settings(folder: Path) -> str:
    """The name in ``site.yaml``; all of that file is checked by the process of the tasks.

    This process opens no site by itself: it would import torch, and keep it for as long as it runs.
    """
    values = read_yaml(folder / "site.yaml", "a site's settings")
    return str(values.get("name")) if isinstance(values, dict) else ""


def _keep(connection: Connection, folder: Path, journal: Journal) -> None:
    """Keep the site connected until it has left, and tell what happens."""
    audit = Follower(journal.audit_path, from_start=False)
    paused, left = Flag(folder, "paused"), Flag(folder, "left")
    asked: list[str] = []
    while not left.is_set():
        for event in audit.new():
            _tell(event, folder, journal, asked)
        if asked:
            _answer(folder, asked)
        if not paused.is_set():
            connection.keep()
        elif connection.stop():
            journal.audit("paused")
            journal.say(
                "paused: this site serves nothing; a round that was under way is lost to it. "
                f"'fedrounds client resume {folder}' goes on"
            )
        time.sleep(LOOK_SECONDS)
    connection.stop()
    journal.say("left: this site serves no more; let the coordinator revoke its key")


def _tell(event: Mapping[str, Any], folder: Path, journal: Journal, asked: list[str]) -> None:
    """Say on the terminal what the site's processes wrote into the audit."""
    kind = event["event"]
    if kind.startswith("run "):
        journal.say(_run_words(event))
    elif kind == "bundle refused":
        journal.say(f"REFUSED a bundle of code: {event['reason']}")
    elif kind == "connected":
        journal.say(f"connected to {event['address']}")
    if kind == "run asked":
        asked.append(event["run_id"])
        run = event["run_id"][:12]
        how = "approve it? [y/N], or " if sys.stdin.isatty() else ""
        journal.say(f"{how}fedrounds client approve {folder} {run} (or refuse)")


def _answer(folder: Path, asked: list[str]) -> None:
    """Take a person's answer from the terminal, without waiting for it."""
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return
    yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    decide(folder, asked.pop(0), "approved" if yes else "refused", user())


def _run_words(event: Mapping[str, Any]) -> str:
    price = "without differential privacy"
    if event["epsilon_run"] is not None:
        price = f"ε = {event['epsilon_run']:.3f} at δ = {event['delta']:g}"
    by = f" by {event['by']}" if event["by"] else ""
    return (
        f"{event['event']}{by}: {event['run_id'][:12]} '{event['experiment']}', {event['model']}, "
        f"{event['rounds']} rounds, {price}"
    )
