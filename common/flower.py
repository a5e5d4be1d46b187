"""What every process that starts Flower must have in its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing that Flower or Ray starts may call home."""

POLL_SECONDS = "0.1"
"""How often a SuperExec asks for a task; Flower's default of 1 s is felt in every round."""


def quiet_environment() -> None:
    """Set :data:`ENVIRONMENT` where the user has not set it otherwise."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def flower_environment(home: Path) -> dict[str, str]:
    """This process's environment for a Flower process of its own.

    Args:
        home: Flower's folder for that process (``FLWR_HOME``); made if missing. Two processes that
            share one would share their configuration and installed bundles.
    """
    home.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)  # SuperLink and SuperExec look each other up here
    return {
        **os.environ,
        **ENVIRONMENT,
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": POLL_SECONDS,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def replace_in(module: ModuleType, name: str, value: object) -> None:
    """Put ``value`` in the place of a function of Flower's that is not public.

    Raises:
        AttributeError: where there is none of that name: another Flower than the one pinned.
    """
    getattr(module, name)
    setattr(module, name, value)
