"""A Flower ``Grid`` in this process: the default engine, with no start-up cost.

The same ServerApp and ClientApp run as in a deployment. With one worker the ClientApp is called
directly; with more, sites train at once in worker processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run

from simulations.flower import become_server, give_message_id, node_context
from simulations.workers import WorkerPool


class InProcessGrid(Grid):
    """Nodes 2, 3, … are the sites' folders, in the order given."""

    def __init__(self, sites: Iterable[Path], pool: WorkerPool | None) -> None:
        self._sites: Mapping[int, str] = {
            number: str(folder) for number, folder in enumerate(sites, start=2)
        }
        self._pool = pool
        self._run = Run.create_empty(1)
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._sites)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer at once, and keep the replies for :meth:`pull_messages`."""
        replies = {r.metadata.reply_to_message_id: r for r in self.send_and_receive(messages)}
        self._replies |= replies
        return list(replies)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002  # a local call ends when it ends
    ) -> Iterable[Message]:
        """Replies come one by one, so that not all of them are in memory at once."""
        tasks = []
        for message in messages:
            give_message_id(message)
            tasks.append((message, self._sites[message.metadata.dst_node_id]))
        return self._pool.run(tasks) if self._pool else _directly(tasks)


def _directly(tasks: Iterable[tuple[Message, str]]) -> Iterator[Message]:
    from client.app import app

    for message, site in tasks:
        yield app(message, node_context(message.metadata.dst_node_id, site))


def balanced_workers(sites: int, at_once: int) -> int:
    """How many processes have ``sites`` of equal work done soonest.

    Three sites in two processes on two cores leave a core idle for half of each round; three
    processes share the cores, and none is idle.

    Args:
        sites: which each take one process at a time.
        at_once: how many processes the cores carry at full speed.
    """

    def duration(workers: int) -> float:  # in units of one site at full speed
        together, left = divmod(sites, workers)
        return together * workers / at_once + (max(1.0, left / at_once) if left else 0.0)

    return min(range(at_once, 2 * at_once), key=duration)


def run_in_process(server_app: ServerApp, sites: list[Path], workers: int) -> None:
    """Run a ServerApp over the sites' folders.

    Args:
        server_app: what to run; its exceptions pass through.
        sites: one folder a site.
        workers: sites trained at once; 1 trains in this process.
    """
    become_server()
    pool = WorkerPool(min(workers, len(sites))) if workers > 1 else None
    try:
        server_app(InProcessGrid(sites, pool), node_context(1, ""))
    finally:
        if pool is not None:
            pool.close()
