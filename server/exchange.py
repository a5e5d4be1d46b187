"""One exchange with the sites: requests out, answers in, each answer checked by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import IncompleteRunError, MessageError, RefusalError
from common.messages import Answer, Description, Request, payload_bytes

A = TypeVar("A", bound=Answer)

GONE = "no answer (the node is gone)"
NO_ANSWER = {
    ErrorCode.NODE_UNAVAILABLE: GONE,
    ErrorCode.MESSAGE_UNAVAILABLE: "no answer in time",
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: "no answer in time",
    ErrorCode.INVALID_FAB: "no answer (the site refused the bundle)",
}
"""What Flower's own errors mean; its texts may hold what a site should keep to itself."""


@dataclass(frozen=True)
class Replies(Generic[A]):
    """What came of one exchange.

    Attributes:
        answers: accepted answers, in the order of their sites' names.
        refused: site (or node) to the reason why its answer does not count.
        declined: those of them that the site itself refused, to the code that it gave.
    """

    answers: Mapping[str, A]
    refused: Mapping[str, str]
    declined: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """Sends to named sites and counts the payload."""

    grid: Grid
    deadline_seconds: float | None = None
    """How long to wait for answers; messages not yet fetched by then are never delivered."""
    registered: Mapping[int, str] | None = None
    """Node id to the site that it was registered as, where keys prove it."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Site name to Flower's node id."""
    dropped: list[str] = field(default_factory=list)
    """Answers that were not counted, a line each."""
    bytes_down: int = 0
    bytes_up: int = 0

    def meet(self, request: Request, num_sites: int, wait_seconds: float) -> Replies[Description]:
        """Wait for the nodes, and ask each who it is.

        A site may take as long to answer as a node may take to come: a person may have to agree. A
        node that vanished stands among Flower's for up to 60 s more; it is waited for again.

        Raises:
            IncompleteRunError: where fewer than ``num_sites`` nodes came in time.
            MessageError: where two nodes claim one name.
        """
        deadline = time.monotonic() + wait_seconds
        patience = self.deadline_seconds and max(self.deadline_seconds, wait_seconds)
        described: dict[str, Description] = {}
        while True:
            node_ids = self._wait_for_nodes(num_sites, deadline, wait_seconds)
            known = self.registered or {}
            named = {known.get(node_id, f"node {node_id}"): node_id for node_id in node_ids}
            left = {name: node_id for name, node_id in named.items() if name not in described}
            requests = dict.fromkeys(left, request)
            replies = self._send(left, "query", requests, Description.unpack, patience)
            refused = dict(replies.refused)
            for node, description in replies.answers.items():
                if self.registered is not None and description.site != node:
                    refused[node] = f"answered in the name of '{description.site}'"
                    continue
                if description.site in self.nodes:
                    raise MessageError(f"two nodes call themselves '{description.site}'")
                self.nodes[description.site] = left[node]
                described[description.site] = description
            if set(refused.values()) != {GONE} or time.monotonic() > deadline:
                break
        self.nodes = dict(sorted(self.nodes.items()))
        return Replies(dict(sorted(described.items())), refused)

    def take_dropped(self) -> list[str]:
        """The answers that were dropped since the last call."""
        lines, self.dropped = self.dropped, []
        return lines

    def ask(
        self, kind: str, requests: Mapping[str, Request], unpack: Callable[[RecordDict], A]
    ) -> Replies[A]:
        """Send each named site its request, and check that each answer is its own.

        Args:
            kind: Flower's message type, ``train`` or ``evaluate``.
            requests: by site name.
            unpack: reads an answer, raising ``MessageError`` for one that cannot count.
        """
        nodes = {site: self.nodes[site] for site in requests}
        replies = self._send(nodes, kind, requests, unpack, self.deadline_seconds)
        accepted: dict[str, A] = {}
        refused = dict(replies.refused)
        for site, answer in sorted(replies.answers.items()):
            if answer.site != site:
                refused[site] = f"answered in the name of '{answer.site}'"
            else:
                accepted[site] = answer
        return Replies(accepted, refused, replies.declined)

    def _send(
        self,
        nodes: Mapping[str, int],
        kind: str,
        requests: Mapping[str, Request],
        unpack: Callable[[RecordDict], A],
        patience: float | None,
    ) -> Replies[A]:
        """Send, and sort what comes back within ``patience`` seconds.

        A message lives as long: a site that is away does not find it, and train for nobody, when
        it comes back. Flower answers for a node that is gone with an error of its own node id, so
        that an answer's sender is found by the message that it replies to.
        """
        messages: dict[str, Message] = {}
        packed: dict[tuple[int, ...], RecordDict] = {}
        for name, request in requests.items():
            parts = tuple(id(getattr(request, part.name)) for part in fields(request))
            if parts not in packed:  # sites that are asked the same share its bytes in memory
                packed[parts] = request.pack()
            content = packed[parts]
            self.bytes_down += payload_bytes(content)
            messages[name] = Message(
                content,
                dst_node_id=nodes[name],
                message_type=kind,
                group_id=str(request.server_round),
                ttl=patience,
            )
        answers: dict[str, A] = {}
        refused, declined = dict.fromkeys(nodes, "no answer in time"), {}
        heard = set()
        replies = self.grid.send_and_receive(list(messages.values()), timeout=patience)
        asked = {message.metadata.message_id: name for name, message in messages.items()}
        for reply in replies:
            name = asked.get(reply.metadata.reply_to_message_id, "")
            if not name or name in heard:
                self._drop(reply, "a second one" if name else "to nothing that was asked")
                continue
            heard.add(name)
            if not reply.has_content():
                refused[name] = NO_ANSWER.get(reply.error.code, "no answer (the node failed)")
                continue
            self.bytes_up += payload_bytes(reply.content)
            try:
                answers[name] = _of_request(unpack(reply.content), requests[name])
                del refused[name]
            except MessageError as error:
                refused[name] = str(error)
                if isinstance(error, RefusalError):
                    declined[name] = error.refused
        return Replies(answers, refused, declined)

    def _drop(self, reply: Message, what: str) -> None:
        """Note an answer that is not counted, by the name that its node is known under."""
        sender = reply.metadata.src_node_id
        names = {node_id: site for site, node_id in self.nodes.items()}
        self.dropped.append(f"{names.get(sender, f'node {sender}')}: {what}")

    def _wait_for_nodes(self, num_sites: int, deadline: float, wait_seconds: float) -> list[int]:
        """Flower may start a ServerApp before its nodes have registered."""
        while len(node_ids := self._present()) < num_sites:
            if time.monotonic() > deadline:
                raise IncompleteRunError(
                    f"expected {num_sites} sites within {wait_seconds:.0f} s, {len(node_ids)} came"
                    f"{self._missing(node_ids)}"
                )
            time.sleep(0.2)
        return node_ids

    def _missing(self, node_ids: list[int]) -> str:
        absent = sorted(s for n, s in (self.registered or {}).items() if n not in node_ids)
        return f"; missing: {', '.join(absent)}" if absent else ""

    def _present(self) -> list[int]:
        node_ids = sorted(self.grid.get_node_ids())
        return [n for n in node_ids if self.registered is None or n in self.registered]


def _of_request(answer: A, request: Request) -> A:
    if (answer.run_id, answer.server_round) != (request.run_id, request.server_round):
        raise MessageError(
            f"answered run '{answer.run_id}' round {answer.server_round}, expected "
            f"'{request.run_id}' round {request.server_round}"
        )
    return answer
