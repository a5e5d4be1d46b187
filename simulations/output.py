"""The folder that a command writes into."""

from __future__ import annotations

import time
from pathlib import Path

from common.errors import SettingsError


def output_folder(name: str | None, kind: str) -> Path:
    """``name``, or ``runs/DATE_kind``; not made yet.

    Raises:
        SettingsError: where there is something already, so that nothing is ever overwritten.
    """
    folder = Path(name or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{kind}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"output_dir={folder} is not an empty folder; choose another")
    return folder
