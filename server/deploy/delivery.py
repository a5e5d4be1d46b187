"""How a deployed ServerApp sends and receives: packed, often enough, and never past its deadline.

Flower 1.41's ``send_and_receive`` sleeps 3 s between two looks, and a look itself has no end that
can be counted on: where a site's upload breaks off, ``pull_messages`` waits three minutes for the
rest, and with it every answer that was found in the same look. So here each answer is awaited by a
thread of its own; what has not come by the deadline is left to its thread, and counted out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue

from flwr.app import Message
from flwr.serverapp import Grid

from common.errors import MessageError
from common.packing import pack, unpack

POLL_SECONDS = 0.25
POLL_SECONDS_A_SITE = 0.05
"""Each thread asks less often where there are many: some 20 requests a second altogether."""

Arrived = SimpleQueue[tuple[str, "list[Message] | BaseException"]]


def attentive(grid: Grid) -> Grid:
    """The same grid, with another ``send_and_receive``.

    Messages are packed (``common/packing.py``). One that the SuperLink does not take, such as to a
    node that was revoked, gets ``None`` for an id, and is not waited for.
    """
    grid.send_and_receive = _sender(grid)  # type: ignore[method-assign]
    return grid


def _sender(grid: Grid) -> Callable[..., list[Message]]:
    def send_and_receive(
        messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        messages = list(messages)
        for message in messages:
            message.content = pack(message.content)
        waiting = {message_id for message_id in grid.push_messages(messages) if message_id}
        replies = _receive(grid, waiting, timeout)
        for reply in replies:
            if reply.has_content():
                with suppress(MessageError):  # what cannot be unpacked is refused for what it lacks
                    reply.content = unpack(reply.content)
        return replies

    return send_and_receive


def _receive(grid: Grid, waiting: set[str], timeout: float | None) -> list[Message]:
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = max(POLL_SECONDS, POLL_SECONDS_A_SITE * len(waiting))
    arrived: Arrived = SimpleQueue()
    stop = threading.Event()
    for message_id in waiting:
        words = (grid, message_id, pause, stop, arrived)
        threading.Thread(target=_await_one, args=words, daemon=True).start()
    replies: list[Message] = []
    left = set(waiting)
    try:
        while left and (deadline is None or time.monotonic() < deadline):
            with suppress(Empty):
                message_id, found = arrived.get(timeout=pause)  # short: signals must come through
                if isinstance(found, BaseException):
                    raise found
                left.discard(message_id)
                replies += found
    finally:
        stop.set()
    return replies


def _await_one(
    grid: Grid, message_id: str, pause: float, stop: threading.Event, arrived: Arrived
) -> None:
    try:
        while not stop.is_set():
            found = list(grid.pull_messages({message_id}))
            if found:
                arrived.put((message_id, found))
                return
            stop.wait(pause)
    except BaseException as error:  # Flower's "the run is not running" is no Exception
        arrived.put((message_id, error))
