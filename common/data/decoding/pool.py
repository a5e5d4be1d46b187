"""Several worker processes over a list of files, and the pool that a process shares."""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.data.decoding.limits import LIMITS, Limits
from common.data.decoding.process import Refusal, Reply, Worker


def usual_size() -> int:
    """Two where there are two cores: more would wait for whoever takes what they read."""
    return min(2, os.cpu_count() or 1)


class Pool:
    """Several workers over a list of files; each file goes to the next that is free."""

    def __init__(self, size: int | None = None, limits: Limits = LIMITS) -> None:
        count = usual_size() if size is None else size
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._workers = [Worker(limits) for _ in range(max(1, count))]
        for worker in self._workers:
            self._free.put(worker)

    def ask(self, path: Path, request: Mapping[str, Any]) -> Reply | Refusal:
        """Have one file read by a worker that is free; safe for threads."""
        worker = self._free.get()
        try:
            return worker.ask(path, request)
        finally:
            self._free.put(worker)

    def ask_all(
        self,
        paths: Sequence[Path],
        request: Mapping[str, Any],
        take: Callable[[int, Reply | Refusal], None],
    ) -> None:
        """Have many files read, with the same request.

        Args:
            paths: the files.
            request: what is asked of each.
            take: gets each file's index and reply, in the order that they are ready, one at a time.
        """
        indices = iter(range(len(paths)))
        lock, failures = threading.Lock(), list[BaseException]()

        def work() -> None:
            while True:
                with lock:
                    index = next(indices, None) if not failures else None
                if index is None:
                    return
                reply = self.ask(paths[index], request)
                with lock:
                    try:
                        take(index, reply)
                    except BaseException as error:
                        failures.append(error)

        # A second process is worth its start from some dozens of files on.
        count = min(len(self._workers), 1 + len(paths) // 32)
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count - 1)]
        for thread in threads:
            thread.start()
        try:
            work()
        except BaseException as error:
            failures.append(error)
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.close()


_shared: Pool | None = None
_shared_owner = 0
_shared_size: int | None = None


def share_of(processes: int) -> None:
    """Have this process, one of so many that decode at once, start its part of the workers."""
    global _shared_size
    _shared_size = min(usual_size(), max(1, (os.cpu_count() or 1) // processes))


def shared_pool() -> Pool:
    """This process's pool: its workers start with the first file and end with the process."""
    global _shared, _shared_owner
    if _shared is None or _shared_owner != os.getpid():  # a forked child has pipes of its own
        _shared, _shared_owner = Pool(_shared_size), os.getpid()
        atexit.register(_shared.close)
    return _shared
