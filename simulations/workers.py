"""Worker processes that run the ClientApp, fed with bytes.

Forked from a server (``warm.py``) that has imported the ClientApp and holds nothing else, so each
begins as a clean process, as a deployed client does, and what was imported is in memory once.
Requests and replies are the protobuf bytes of Flower messages: nothing is pickled between the
processes.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from flwr.app import Error, Message

from common.data.decoding.pool import share_of
from common.processes import end_with_starter
from simulations.flower import from_bytes, node_context, to_bytes

WORKER_DIED = 1
"""Code of Flower's ``Error`` for a reply that a dead worker could not give."""


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection


class WorkerPool:
    """``size`` processes; :meth:`run` hands each message to the next one that is free."""

    def __init__(self, size: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._size = size
        self._workers = [self._start() for _ in range(size)]

    def run(self, tasks: Sequence[tuple[Message, str]]) -> Iterator[Message]:
        """Run every message at its site's folder; replies come as they are ready.

        A worker that dies answers with an error in its place, and is replaced.
        """
        waiting = list(reversed(tasks))
        idle = list(self._workers)
        busy: dict[Connection, tuple[_Worker, Message]] = {}
        while waiting or busy:
            while waiting and idle:
                worker = idle.pop()
                message, site = waiting.pop()
                with suppress(OSError):  # a worker that has died is found when its answer is read
                    worker.connection.send_bytes(site.encode())
                    worker.connection.send_bytes(to_bytes(message))
                busy[worker.connection] = worker, message
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker, message = busy.pop(connection)
                try:
                    yield from_bytes(connection.recv_bytes())
                    idle.append(worker)
                except (EOFError, OSError):
                    idle.append(self._replace(worker))
                    yield Message(Error(WORKER_DIED, "the worker process died"), reply_to=message)

    def close(self) -> None:
        """End every worker; a training step under way is given up."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
            worker.connection.close()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._size), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _replace(self, worker: _Worker) -> _Worker:
        worker.process.join(timeout=1)
        worker.connection.close()
        fresh = self._start()
        self._workers[self._workers.index(worker)] = fresh
        return fresh


def _serve(connection: Connection, workers: int) -> None:
    """A worker's life: read a site's folder and a message, answer, until the pipe closes."""
    end_with_starter()  # or a message of many steps would be trained to its end for nobody
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    from client.app import app  # imported here, since it is slow and only workers need it

    share_of(workers)
    while True:
        try:
            site = connection.recv_bytes().decode()
            message = from_bytes(connection.recv_bytes())
        except EOFError:
            return
        reply = app(message, node_context(message.metadata.dst_node_id, site))
        connection.send_bytes(to_bytes(reply))
