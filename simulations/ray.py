"""The same ServerApp and ClientApp through Flower's simulation engine, which runs on Ray.

Ray's workers import this project's packages from where this process found them, even when the
current folder has a ``common/`` of its own.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import ServerApp

from common.config import EngineSettings
from common.errors import SettingsError

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
    try:
        import ray
    except ImportError as error:
        raise SettingsError("engine=ray needs the extra: pip install 'fedrounds[ray]'") from error
    from flwr.simulation import run_simulation

    resources = {"num_cpus": threads, "num_gpus": engine.gpus_per_site}
    init: dict[str, object] = {
        "runtime_env": {"env_vars": {"PYTHONPATH": str(PROJECT)}},
        "include_dashboard": False,
        "logging_level": logging.ERROR,
        "log_to_driver": False,
    }
    if engine.workers is not None:
        init["num_cpus"] = engine.workers * threads
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with _neutral_folder(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_simulation(
                server_app=server_app,
                client_app=_client_app([str(site) for site in sites]),
                num_supernodes=len(sites),
                backend_config={"init_args": init, "client_resources": resources},  # type: ignore[dict-item]
            )
        finally:
            ray.shutdown()


def _client_app(sites: list[str]) -> ClientApp:
    """The project's ClientApp behind a mod that tells each virtual node its site's folder."""
    from client.app import SITE_KEY, build_client_app

    def assign_site(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        place = int(context.node_config["partition-id"])
        context.node_config[SITE_KEY] = sites[place]
        return call_next(message, context)

    return build_client_app(mods=[assign_site])


@contextmanager
def _neutral_folder() -> Iterator[None]:
    """Ray puts the current folder on its workers' path: stand in an empty one meanwhile."""
    with TemporaryDirectory() as folder, chdir(folder):
        yield
