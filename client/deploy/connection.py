"""A site's two processes: its SuperNode, and what runs the tasks that come in.

.. code-block:: text

    SuperNode (client/deploy/supernode.py) ── TLS, signed with node.key ──> the coordinator
        |                                      (with mutual TLS through forwarder.py)
        ^ loopback, with a secret of this start
    tasks (client/deploy/tasks.py) ── forks ──> a ClientApp for each message

A lost connection is Flower's to mend: it retries without end, every 20 s at most. Here a process
that ended is started again, unless the server refused the site, since then nothing would change.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from client.deploy.consortium import UNUSABLE, Membership, ca_certificate
from client.deploy.forwarder import Forwarder
from client.deploy.refusals import refusal, still_taken_for_connected
from common.errors import JoinError, SettingsError
from common.flower import flower_environment
from common.journal import Journal
from common.node_keys import NODE_KEY
from common.processes import Child, Children, free_port, new_secret

PORT_TAKEN = "SuperNode Runtime HTTP API failed to start"
AWAY_SECONDS = 75.0
"""Flower 1.41 takes a node that vanished for connected for 60 s more."""
AWAY_PAUSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 30.0
"""Longest wait between two starts of a process that ends again and again."""


class Connection:
    """Starts the two, and starts again whichever ends."""

    def __init__(
        self, folder: Path, membership: Membership, fingerprint: str, journal: Journal,
        children: Children,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._membership = membership
        self._fingerprint = fingerprint
        self._journal = journal
        self._children = children
        self._home = folder / "flower"
        self._environment = flower_environment(self._home)
        self._secret = new_secret(self._home / "superexec.secret")
        self._port = free_port()
        self._forwarder = Forwarder(folder, membership, journal) if membership.mutual_tls else None
        self._node: Child | None = None
        self._tasks: Child | None = None
        self._connected = False
        self._failures = 0
        self._not_before = 0.0

    def keep(self) -> None:
        """Start what should run and does not; called again and again.

        Raises:
            JoinError: where the server refuses this site, or is not the one it should be.
            SettingsError: where ``site.yaml`` cannot be used.
        """
        if self._forwarder is not None and self._forwarder.failure:
            self._refuse(self._forwarder.failure, connected=False)
        if self._node is not None and self._node.exit_code is not None:
            self._node_ended(self._node)
        elif self._tasks is not None and self._tasks.exit_code is not None:
            self._tasks_ended(self._tasks)
        elif self._connected:
            self._alive.touch()
        if time.monotonic() < self._not_before:
            return
        if self._node is None:
            self._start_node()
        if self._tasks is None:
            words = (sys.executable, "-m", "client.deploy.tasks", str(self._folder))
            self._tasks = self._children.start(
                "tasks", [*words, f"127.0.0.1:{self._port}", str(self._secret)],
                self._environment, self._home,
            )  # fmt: skip

    def stop(self) -> bool:
        """End both; whether anything ran."""
        running = [child for child in (self._node, self._tasks) if child is not None]
        if running:
            self._children.stop(*running)
        self._node = self._tasks = None
        self._connected = False
        return bool(running)

    def close(self) -> None:
        """End for good."""
        self.stop()
        if self._forwarder is not None:
            self._forwarder.close()

    def _start_node(self) -> None:
        address, root = self._membership.address, ca_certificate(self._folder)
        if self._forwarder is not None:
            address, root = self._forwarder.address, self._forwarder.certificate
        words = [
            *(sys.executable, "-m", "client.deploy.supernode", str(self._folder)),
            *("--superlink", address),
            *("--root-certificates", str(root)),
            *("--auth-supernode-private-key", str(self._folder / NODE_KEY)),
            *("--node-config", f'site="{self._folder}"'),
            *("--isolation", "process", "--host", "127.0.0.1", "--port", str(self._port)),
            *("--superexec-auth-secret-file", str(self._secret)),
        ]
        self._connected = False
        self._journal.say(f"connecting to {self._membership.address} as {self._membership.site}")
        self._node = self._children.start(
            "supernode", words, self._environment, self._home, self._heard
        )

    def _heard(self, line: str) -> None:
        """Note what the SuperNode's own lines say of the connection."""
        if "SuperNode ID:" in line:
            self._connected, self._failures = True, 0
            self._journal.audit("connected", address=self._membership.address)

    def _node_ended(self, node: Child) -> None:
        self._children.stop(node)
        self._node, words, was_connected = None, node.words(), self._connected
        if was_connected:
            self._journal.audit("disconnected")
        self._refuse(words, connected=was_connected)
        if PORT_TAKEN in words:
            self.stop()
            self._port = free_port()
        if still_taken_for_connected(words):
            self._again("the server still takes this site for connected", AWAY_PAUSE_SECONDS)
        else:
            self._again("the SuperNode ended", self._next_pause())

    def _refuse(self, words: str, *, connected: bool) -> None:
        """Raise JoinError where ``words`` say that a new start would change nothing."""
        problem = refusal(
            words, self._membership.address, self._fingerprint,
            connected=connected, late=self._was_here_lately(),
        )  # fmt: skip
        if problem:
            self._journal.audit("refused by the server", reason=problem)
            raise JoinError(problem)

    def _tasks_ended(self, tasks: Child) -> None:
        """A message that was being worked on has no answer any more: the SuperNode goes too."""
        words = tasks.words()
        self.stop()
        if UNUSABLE in words:
            raise SettingsError(words[words.index(UNUSABLE) :])
        self._again("what runs the tasks ended", self._next_pause())

    def _next_pause(self) -> float:
        self._failures += 1
        return min(2.0**self._failures, MAX_PAUSE_SECONDS)

    def _again(self, what: str, pause: float) -> None:
        self._not_before = time.monotonic() + pause
        self._journal.say(f"{what}; trying again in {pause:.0f} s")

    @property
    def _alive(self) -> Path:
        """Touched while the site is connected."""
        return self._home / "alive"

    def _was_here_lately(self) -> bool:
        return self._alive.exists() and time.time() - self._alive.stat().st_mtime < AWAY_SECONDS
