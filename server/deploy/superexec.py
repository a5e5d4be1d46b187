"""Starts the ServerApp: Flower's SuperExec, with four differences.

    1. it starts ServerApps alone, and of our own bundle alone. The Control API authenticates
       nobody, so any user of this machine could start a run; its code does not run here.
    2. the ServerApp ends with it. Flower's own sees that its parent is gone, and may wait for the
       SuperLink, which is gone too, for ever.
    3. what the ServerApp prints comes out, and so into the coordinator's log.
    4. it asks again where the SuperLink answers 500, as it does while its database is busy for more
       than 5 s: with a large model on a busy machine. Flower's ends, and the run with it.

Run as ``python -m server.deploy.superexec ADDRESS CA SECRET``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

from common.flower import replace_in
from common.processes import end_with_parent
from server.deploy.bundle import build_bundle

ASKED_AGAIN = frozenset({500, 502, 503, 504})
"""Status codes of HTTP; Flower's own are all but the first."""


class ServerAppExecutor:
    """Flower's ``Executor`` (a protocol) for one kind of task."""

    def __init__(self) -> None:
        self._bundle = hashlib.sha256(build_bundle()).hexdigest()
        self._running: list[subprocess.Popen[bytes]] = []

    def get_eligible_capacity(
        self, supported_task_types: set[TaskType], **_: object
    ) -> tuple[set[TaskType], set[str]]:
        return supported_task_types & {TaskType.SERVER_APP}, set()

    def wait_for_capacity(self, *_: object, **__: object) -> None:
        """There is no limit: a server has one run."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start a ServerApp."""
        if spec.task_type is not TaskType.SERVER_APP or spec.fab_hash != self._bundle:  # 1
            print(f"refused to start a task of the bundle {spec.fab_hash}", flush=True)
            return LaunchResult.failed("not this server's own bundle")
        words = [
            *("flwr-serverapp", "--runtime-api-address", spec.runtime_api_address),
            *("--token", spec.token, "--parent-pid", str(os.getpid())),
            *("--root-certificates", str(spec.root_certificates_path)),
        ]
        prepare = end_with_parent(signal.SIGKILL)  # 2
        self._running.append(subprocess.Popen(words, preexec_fn=prepare))  # 3
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Forget what has ended."""
        self._running = [process for process in self._running if process.poll() is None]

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            process.terminate()


def main() -> None:
    """Ask the SuperLink for tasks, until this process is ended."""
    from flwr.supercore.retry import http_retry
    from flwr.supercore.superexec import run_superexec as superexec

    address, ca_certificate, secret = sys.argv[1:]
    executor = ServerAppExecutor()
    replace_in(superexec, "get_executor", lambda *_, **__: executor)
    replace_in(http_retry, "_RETRYABLE_STATUS_CODES", ASKED_AGAIN)  # 4
    superexec.run_superexec(
        runtime_api_address=address,
        insecure=False,
        root_certificates_path=ca_certificate,
        superexec_auth_secret=Path(secret).read_bytes(),
        parent_pid=os.getppid(),
    )


if __name__ == "__main__":
    main()
