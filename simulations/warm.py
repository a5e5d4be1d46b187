"""The fork server of the worker processes, started early.

It imports PyTorch and the ClientApp, for seconds, while this process imports what it needs itself
and finds the images. This module imports little.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

from client.preload import PLAIN, PRIVATE
from common.config import Settings
from common.flower import quiet_environment

PROJECT = Path(__file__).resolve().parent.parent


def sites_at_once(settings: Settings) -> int:
    """How many sites the cores carry at full speed, or as many as are asked for."""
    return settings.engine.workers or max(1, (os.cpu_count() or 1) // settings.threads)


def warm_up(settings: Settings) -> None:
    """Start the fork server, where there will be workers."""
    quiet_environment()
    if settings.engine.name != "inprocess" or sites_at_once(settings) == 1:
        return
    imported = PRIVATE if settings.privacy.enabled else PLAIN
    multiprocessing.get_context("forkserver").set_forkserver_preload(imported)
    with imported_from_here():
        forkserver.ensure_running()


@contextmanager
def imported_from_here() -> Iterator[None]:
    """Let a new Python import these packages, and none of that name from the current folder."""
    before = dict(os.environ)
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    os.environ |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    try:
        yield
    finally:
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            os.environ.pop(name)
        os.environ |= before
