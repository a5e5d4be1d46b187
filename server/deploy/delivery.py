"""How a deployed ServerApp sends and receives: packed, and asking for answers often enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from flwr.app import Message
from flwr.serverapp import Grid

from common.errors import MessageError
from common.packing import pack, unpack

POLL_SECONDS = 0.25


def attentive(grid: Grid) -> Grid:
    """The same grid, with another ``send_and_receive``.

    Flower's own sleeps 3 s between two looks. Messages are packed (``common/packing.py``). One that
    the SuperLink does not take, such as to a node that was revoked, gets ``None`` for an id, and is
    not waited for.
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
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (deadline is None or time.monotonic() < deadline):
            arrived = list(grid.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in arrived}
            replies += arrived
            if waiting:
                time.sleep(POLL_SECONDS)
        for reply in replies:
            if reply.has_content():
                with suppress(MessageError):  # what cannot be unpacked is refused for what it lacks
                    reply.content = unpack(reply.content)
        return replies

    return send_and_receive
