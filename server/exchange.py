"""One exchange with the sites: requests out, answers in, each answer checked by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.errors import IncompleteRunError, MessageError, RefusalError
from common.messages import Answer, Description, Request, payload_bytes

A = TypeVar("A", bound=Answer)


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
    nodes: dict[str, int] = field(default_factory=dict)
    """Site name to Flower's node id."""
    bytes_down: int = 0
    bytes_up: int = 0

    def meet(self, request: Request, num_sites: int, wait_seconds: float) -> Replies[Description]:
        """Wait for the nodes, and ask each who it is.

        Raises:
            IncompleteRunError: where fewer than ``num_sites`` nodes came in time.
            MessageError: where two nodes claim one name.
        """
        node_ids = self._wait_for_nodes(num_sites, wait_seconds)
        anonymous = {f"node {node_id}": node_id for node_id in node_ids}
        replies = self._send(
            anonymous, "query", dict.fromkeys(anonymous, request), Description.unpack
        )
        for node, description in replies.answers.items():
            if description.site in self.nodes:
                raise MessageError(f"two nodes call themselves '{description.site}'")
            self.nodes[description.site] = anonymous[node]
        described = {d.site: d for d in replies.answers.values()}
        self.nodes = dict(sorted(self.nodes.items()))
        return Replies(dict(sorted(described.items())), replies.refused)

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
        replies = self._send(nodes, kind, requests, unpack)
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
    ) -> Replies[A]:
        messages = []
        for name, request in requests.items():
            content = request.pack()
            self.bytes_down += payload_bytes(content)
            group = str(request.server_round)
            messages.append(
                Message(content, dst_node_id=nodes[name], message_type=kind, group_id=group)
            )
        names = {node_id: name for name, node_id in nodes.items()}
        answers: dict[str, A] = {}
        refused, declined = dict.fromkeys(nodes, "no answer"), {}
        for reply in self.grid.send_and_receive(messages):
            name = names.get(reply.metadata.src_node_id, "")
            if name not in refused:
                continue  # a second answer, or nobody's
            if not reply.has_content():
                refused[name] = "no answer (the node failed)"
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

    def _wait_for_nodes(self, num_sites: int, wait_seconds: float) -> list[int]:
        """Flower may start a ServerApp before its nodes have registered."""
        deadline = time.monotonic() + wait_seconds
        while len(node_ids := sorted(self.grid.get_node_ids())) < num_sites:
            if time.monotonic() > deadline:
                raise IncompleteRunError(
                    f"expected {num_sites} sites within {wait_seconds:.0f} s, {len(node_ids)} came"
                )
            time.sleep(0.2)
        return node_ids


def _of_request(answer: A, request: Request) -> A:
    if (answer.run_id, answer.server_round) != (request.run_id, request.server_round):
        raise MessageError(
            f"answered run '{answer.run_id}' round {answer.server_round}, expected "
            f"'{request.run_id}' round {request.server_round}"
        )
    return answer
