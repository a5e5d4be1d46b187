"""Two files by which a person tells a running client to stop serving: ``paused`` and ``left``."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Literal

from common.checkpoint import write_json


class Flag:
    """A file that is there or not; it says who set it."""

    def __init__(self, folder: Path, name: Literal["paused", "left"]) -> None:
        self.path = folder / name

    def is_set(self) -> bool:
        return self.path.exists()

    def set(self) -> None:
        write_json(self.path, {"by": user()})

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def user() -> str:
    """Who is at the keyboard; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
