"""Runs the ClientApp for each message in a process of its own, forked from a warm one.

Flower's SuperExec starts a Python for each message, which imports torch anew: 3 to 5 s of every
exchange. Here a fork server has it imported once, and a task begins in some 20 ms. A process that
is new for each message keeps what Flower promises: nothing stays in memory between messages. What
a fork must not share is not there to be shared: streams of noise are keyed in the process that
trains (``client/privacy/entropy.py``), and the fork server draws no random number.

Run as ``python -m client.deploy.tasks SITE ADDRESS SECRET``. Only ClientApp tasks are taken: Flower
1.41 would also run agents, models and connectors that a server asks for.
"""

from __future__ import annotations

import os
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

from client.deploy.consortium import UNUSABLE
from client.preload import PRIVATE
from common.errors import SettingsError
from common.flower import replace_in
from common.processes import end_with_starter

PRELOADED = [
    *PRIVATE,
    "client.deploy.consent",
    "flwr.supernode.runtime.run_clientapp",
]


class WarmExecutor:
    """Flower's ``Executor`` (a protocol) over a fork server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._running: list[ForkServerProcess] = []

    def warm(self) -> bool:
        """Start the fork server with a first task: whether ``site.yaml`` can be used."""
        process = self._context.Process(target=check_settings, args=(str(self._folder),))
        process.start()
        process.join()
        return process.exitcode == 0

    def get_eligible_capacity(
        self, supported_task_types: set[TaskType], **_: object
    ) -> tuple[set[TaskType], set[str]]:
        return supported_task_types & {TaskType.CLIENT_APP}, set()

    def wait_for_capacity(self, *_: object, **__: object) -> None:
        """There is no limit: a SuperNode has one message at a time."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start a task."""
        if spec.task_type is not TaskType.CLIENT_APP:
            return LaunchResult.failed("only ClientApp tasks run at this site")
        process = self._context.Process(
            target=run_task,
            args=(str(self._folder), spec.runtime_api_address, spec.token, os.getpid()),
        )
        process.start()
        self._running.append(process)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Forget the tasks that have ended."""
        self._running = [process for process in self._running if process.is_alive()]

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            process.terminate()


def check_settings(folder: str) -> None:
    """Open the site's folder; what is wrong with it is printed, for the process that watches."""
    from client.site import Site

    try:
        Site.open(Path(folder))
    except SettingsError as error:
        print(f"{UNUSABLE} {error}", flush=True)
        sys.exit(SettingsError.exit_code)


def run_task(folder: str, address: str, token: str, parent: int) -> None:
    """One task, in its own process: Flower's ClientApp runtime with the installed app."""
    from flwr.supernode.runtime.run_clientapp import run_clientapp

    from client.app import build_client_app
    from client.deploy.approval import guard_clientapp
    from client.deploy.consent import consent_mod
    from client.packed import packing_mod

    end_with_starter()
    site = Path(folder)
    guard_clientapp(site, lambda: build_client_app(mods=[packing_mod, consent_mod(site)]))
    run_clientapp(address, token, insecure=True, parent_pid=parent)


def main() -> None:
    """Ask this site's SuperNode for tasks, until this process is ended."""
    from flwr.supercore.superexec import run_superexec as superexec

    folder, address, secret = sys.argv[1:]
    executor = WarmExecutor(Path(folder))
    if not executor.warm():
        sys.exit(SettingsError.exit_code)
    replace_in(superexec, "get_executor", lambda *_, **__: executor)
    superexec.run_superexec(
        runtime_api_address=address,
        insecure=True,  # loopback, from one process of this site to another
        superexec_auth_secret=Path(secret).read_bytes(),
        parent_pid=os.getppid(),
    )


if __name__ == "__main__":
    main()
