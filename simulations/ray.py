"""The same ServerApp and ClientApp through Flower's simulation engine, which runs on Ray.

Ray's workers import this project's packages from where this process found them, even when the
current folder has a ``common/`` of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import Grid, ServerApp

from common.config import EngineSettings
from common.errors import IncompleteRunError
from common.extras import require_extra

POLL_SECONDS = 0.05

PROJECT = Path(__file__).resolve().parent.parent


def run_in_ray(
    server_app: ServerApp, sites: list[Path], engine: EngineSettings, threads: int
) -> None:
    """Run a ServerApp over the sites' folders, a virtual node each.

    Args:
        server_app: what to run; its exceptions pass through.
        sites: one folder a site; absolute.
        engine: how many sites at once, and a GPU's share for each.
        threads: CPU threads of a site.

    Raises:
        SettingsError: where Ray is not installed.
    """
    require_extra("engine=ray", "ray", "ray")
    import ray
    from flwr.simulation import run_simulation

    init: dict[str, object] = {
        "include_dashboard": False,
        "logging_level": logging.ERROR,
        "log_to_driver": False,
    }
    if engine.workers is not None:
        init["num_cpus"] = engine.workers * threads
    logging.getLogger("flwr").setLevel(logging.ERROR)
    stop = threading.Event()
    with _import_from_here(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's and Flower's own, run_simulation's deprecation too
        try:
            run_simulation(
                server_app=_until(stop, server_app),
                client_app=_client_app([str(site) for site in sites]),
                num_supernodes=len(sites),
                backend_config={
                    "init_args": init,  # type: ignore[dict-item]
                    "client_resources": {"num_cpus": threads, "num_gpus": engine.gpus_per_site},
                },
            )
        except RuntimeError as error:
            raise IncompleteRunError(
                f"the Ray engine failed: {error.__cause__ or error}"
            ) from error
        finally:
            stop.set()
            ray.shutdown()


def _until(stop: threading.Event, server_app: ServerApp) -> ServerApp:
    """``server_app`` over a grid that gives up when Ray has.

    Flower runs the ServerApp in a thread and waits there without limit; were the engine to fail,
    the thread, and with it this process, would never end.
    """
    wrapped = ServerApp()

    @wrapped.main()
    def main(grid: Grid, context: Context) -> None:
        def send_and_receive(messages: Iterable[Message], **_: object) -> Iterable[Message]:
            waiting = set(grid.push_messages(messages))
            replies: list[Message] = []
            while waiting:
                if stop.wait(POLL_SECONDS):
                    raise IncompleteRunError("the Ray engine stopped before the sites answered")
                arrived = list(grid.pull_messages(waiting))
                waiting -= {reply.metadata.reply_to_message_id for reply in arrived}
                replies += arrived
            return replies

        grid.send_and_receive = send_and_receive  # type: ignore[method-assign]
        server_app(grid, context)

    return wrapped


def _client_app(sites: list[str]) -> ClientApp:
    """The project's ClientApp behind a mod that tells each virtual node its site's folder."""
    from client.app import SITE_KEY, build_client_app

    def assign_site(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        place = int(context.node_config["partition-id"])
        context.node_config[SITE_KEY] = sites[place]
        return call_next(message, context)

    return build_client_app(mods=[assign_site])


@contextmanager
def _import_from_here() -> Iterator[None]:
    """Let Ray's workers import these packages, and none of that name from the current folder.

    Flower hands this process's ``sys.path`` to the workers, so the project stands first in it for
    as long as they start; and Ray adds the current folder, so that is an empty one meanwhile.
    """
    path, pythonpath = list(sys.path), os.environ.get("PYTHONPATH")
    sys.path.insert(0, str(PROJECT))
    try:
        with TemporaryDirectory() as folder, chdir(folder):
            yield
    finally:
        sys.path[:] = path
        if pythonpath is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = pythonpath
