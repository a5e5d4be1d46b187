"""A site's SuperNode: Flower's own, with the site's approval of code put in (``approval.py``).

Run as ``python -m client.deploy.supernode SITE WORDS…``, WORDS being those of ``flower-supernode``.
Flower's keeps its loopback API in a thread that outlives a lost connection, and would then hang; so
this process ends when Flower's function does.

It also asks for messages at Flower's pace, every 3 s, which in a round is felt twice: while a run
is on, this SuperNode asks more often.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from client.deploy.approval import guard_supernode
from common.flower import replace_in

LOST = 3
"""Exit code where the connection was lost in a way that Flower does not recover from."""


BUSY_SECONDS = 60.0
"""How long after a message another one is expected soon."""
BUSY_POLL_SECONDS = 0.5


def hurry() -> None:
    """Let Flower's loop sleep less for :data:`BUSY_SECONDS` after each message."""
    from flwr.supernode import start_client_internal as internal

    pull: Callable[..., Any] = internal._pull_and_store_message
    last = -BUSY_SECONDS

    def noting_pull(**given: Any) -> Any:
        nonlocal last
        run_id = pull(**given)
        if run_id is not None:
            last = time.monotonic()
        return run_id

    def sleep(seconds: float) -> None:
        busy = time.monotonic() - last < BUSY_SECONDS
        time.sleep(min(seconds, BUSY_POLL_SECONDS) if busy else seconds)

    replace_in(internal, "_pull_and_store_message", noting_pull)
    replace_in(internal, "time", SimpleNamespace(sleep=sleep))  # all that it uses of the module


def main() -> None:
    """Serve until the connection is lost for good."""
    from flwr.supernode.cli.flower_supernode import flower_supernode

    guard_supernode(Path(sys.argv.pop(1)))
    hurry()
    sys.argv[0] = "flower-supernode"
    flower_supernode()
    sys.stdout.flush()
    os._exit(LOST)


if __name__ == "__main__":
    main()
