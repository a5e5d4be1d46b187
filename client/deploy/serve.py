"""``fedrounds client SITE``: keeps a site connected, until it is told to stop.

Three processes, with this one watching:

.. code-block:: text

    SuperNode (client/deploy/supernode.py) ── TLS, signed with node.key ──> the coordinator
        ^ loopback, with a secret of this start
    tasks (client/deploy/tasks.py) ── forks ──> a ClientApp for each message

A lost connection is Flower's to mend: it retries without end, every 20 s at most. Here a SuperNode
that ended is started again, unless the server refused it: then nothing would change by itself.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client.deploy.consent import decide
from client.deploy.consortium import Membership, ca_certificate
from client.deploy.flags import Flag, user
from client.deploy.keys import NODE_KEY, check_key
from client.site import Site
from common.errors import JoinError, SettingsError
from common.flower import flower_environment
from common.journal import Follower, Journal
from common.processes import (
    Child,
    Children,
    free_port,
    is_listening,
    new_secret,
    only_one,
    terminated_like_ctrl_c,
    wait_until,
)

LOCK = "client.lock"
LOOK_SECONDS = 0.5
START_SECONDS = 60.0
AWAY_SECONDS = 75.0
"""Flower 1.41 takes a node that vanished for connected for 60 s, and refuses it meanwhile."""
MAX_PAUSE_SECONDS = 30.0
"""Longest wait between two starts of a SuperNode that ends again and again."""


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
                _Connection(folder, membership, fingerprint, journal, children).keep()
        except BaseException as error:
            journal.audit("stopped", reason=str(error) or type(error).__name__)
            raise
        journal.audit("stopped", reason="left")


def prepare(folder: Path) -> tuple[Membership, str]:
    """Check what a start needs: settings, key, certificate; returns the key's fingerprint too.

    Raises:
        SettingsError: naming what is wrong.
    """
    site, membership = Site.open(folder), Membership.open(folder)
    if site.name != membership.site:
        raise SettingsError(
            f"{folder / 'site.yaml'}: name: expected '{membership.site}', as consortium.yaml has "
            f"it, got '{site.name}'"
        )
    ca_certificate(folder)
    left = Flag(folder, "left")
    if left.is_set():
        raise SettingsError(
            f"{left.path}: this site has left the consortium; 'fedrounds client resume {folder}' "
            "joins it again"
        )
    return membership, check_key(folder)


@dataclass
class _Connection:
    """The two processes, and what the server lets be known of them."""

    folder: Path
    membership: Membership
    fingerprint: str
    journal: Journal
    children: Children
    connected: bool = False
    failures: int = 0
    _running: list[Child] = field(default_factory=list)
    _not_before: float = 0.0

    def keep(self) -> None:
        """Keep the site connected until it has left."""
        audit = Follower(self.journal.audit_path, from_start=False)
        paused, left = Flag(self.folder, "paused"), Flag(self.folder, "left")
        asked: list[str] = []
        while not left.is_set():
            for event in audit.new():
                self._tell(event, asked)
            if asked:
                self._answer(asked)
            if paused.is_set():
                self._pause()
            elif not self._running and time.monotonic() >= self._not_before:
                self._start()
            self._mend()
            time.sleep(LOOK_SECONDS)
        self.children.stop(*self._running)
        self.journal.say("left: this site serves no more; let the coordinator revoke its key")

    def _start(self) -> None:
        """Start the SuperNode and what runs its tasks."""
        port, home = free_port(), self.folder / "flower"
        environment = flower_environment(home)
        secret = new_secret(home / "superexec.secret")
        words = [
            *(sys.executable, "-m", "client.deploy.supernode", str(self.folder)),
            *("--superlink", self.membership.address),
            *("--root-certificates", str(ca_certificate(self.folder))),
            *("--auth-supernode-private-key", str(self.folder / NODE_KEY)),
            *("--node-config", f'site="{self.folder}"'),
            *("--isolation", "process", "--host", "127.0.0.1", "--port", str(port)),
            *("--superexec-auth-secret-file", str(secret)),
        ]
        self.connected = False
        node = self.children.start("supernode", words, environment, home, self._heard)
        self._running = [node]
        wait_until(lambda: is_listening(port), node, START_SECONDS, "the SuperNode")
        words = [
            *(sys.executable, "-m", "client.deploy.tasks"),
            *(str(self.folder), f"127.0.0.1:{port}", str(secret)),
        ]
        self._running.append(self.children.start("tasks", words, environment, home))
        self.journal.say(f"connecting to {self.membership.address} as {self.membership.site}")

    def _heard(self, line: str) -> None:
        """Note what the SuperNode's own lines say of the connection."""
        if "SuperNode ID:" in line:
            self.connected, self.failures = True, 0
            self.journal.audit("connected", address=self.membership.address)

    def _mend(self) -> None:
        """See to processes that have ended."""
        dead = [child for child in self._running if child.exit_code is not None]
        if not dead:
            if self.connected:
                self._alive.touch()
            return
        self.children.stop(*self._running)
        words = self._running[0].words()
        self._running = []
        if self.connected:
            self.journal.audit("disconnected", process=dead[0].name)
        self._expect_accepted(words)
        self.failures += 1
        pause = min(2.0**self.failures, MAX_PAUSE_SECONDS)
        self._not_before = time.monotonic() + pause
        self.journal.say(f"the {dead[0].name} ended; it is started again in {pause:.0f} s")

    def _expect_accepted(self, words: str) -> None:
        """Give up where starting again would change nothing.

        Raises:
            JoinError: saying what the server, or its certificate, has against this site.
        """
        text = words.lower()
        problem = None
        if "certificate verify failed" in text:
            problem = (
                f"the server at {self.membership.address} is not the one of this kit: its "
                f"certificate does not hold against ca.crt or its name ({_detail(words)})"
            )
        elif "wrong_version_number" in text or "wrong version number" in text:
            problem = f"{self.membership.address} does not speak TLS: it is no fedrounds server"
        elif "[code: 2004]" in text and not self._was_here_lately():
            problem = (
                f"the server knows no site with this key ({self.fingerprint}): it is not "
                "registered yet, or was revoked"
            )
        elif "invalid supernode authentication" in text or "401" in text:
            problem = (
                "the server does not accept this site's signature: the key was revoked, or this "
                "machine's clock is wrong by more than 5 s ahead, or 305 s behind"
            )
        if problem is not None:
            self.journal.audit("refused by the server", reason=problem)
            raise JoinError(problem)

    @property
    def _alive(self) -> Path:
        """Touched while the site is connected."""
        return self.folder / "flower" / "alive"

    def _was_here_lately(self) -> bool:
        return self._alive.exists() and time.time() - self._alive.stat().st_mtime < AWAY_SECONDS

    def _pause(self) -> None:
        if self._running:
            self.children.stop(*self._running)
            self._running = []
            self.journal.audit("paused")
            self.journal.say(
                "paused: this site serves nothing; a round that was under way is lost to it. "
                f"'fedrounds client resume {self.folder}' goes on"
            )

    def _tell(self, event: Mapping[str, Any], asked: list[str]) -> None:
        """Say on the terminal what the site's processes wrote into the audit."""
        kind = event["event"]
        if kind == "run asked":
            asked.append(event["run_id"])
        if kind.startswith("run "):
            self.journal.say(_run_words(event))
        elif kind == "bundle refused":
            self.journal.say(f"REFUSED a bundle of code: {event['reason']}")
        elif kind == "connected":
            self.journal.say(f"connected to {event['address']}")
        if kind == "run asked":
            run = event["run_id"][:12]
            how = "approve it? [y/N] " if sys.stdin.isatty() else ""
            self.journal.say(f"{how}(or: fedrounds client approve {self.folder} {run}, or refuse)")

    def _answer(self, asked: list[str]) -> None:
        """Take a person's answer from the terminal, without waiting for it."""
        if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
            return
        yes = sys.stdin.readline().strip().lower() in ("y", "yes")
        decide(self.folder, asked.pop(0), "approved" if yes else "refused", user())


def _run_words(event: Mapping[str, Any]) -> str:
    price = "without differential privacy"
    if event["epsilon_run"] is not None:
        price = f"ε = {event['epsilon_run']:.3f} at δ = {event['delta']:g}"
    by = f" by {event['by']}" if event["by"] else ""
    return (
        f"{event['event']}{by}: {event['run_id'][:12]} '{event['experiment']}', {event['model']}, "
        f"{event['rounds']} rounds, {price}"
    )


def _detail(words: str) -> str:
    """OpenSSL's reason, out of a longer text."""
    start = words.find("certificate verify failed")
    return words[start : start + 160].split("(_ssl")[0].split(" For more")[0].strip()
