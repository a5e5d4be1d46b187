"""Two files by which a person tells a running client to stop serving: ``paused`` and ``left``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from common.checkpoint import write_json
from common.journal import user

FlagName = Literal["paused", "left"]


class Flag:
    """A file that is there or not; it says who set it."""

    def __init__(self, folder: Path, name: FlagName) -> None:
        self.path = folder / name

    def is_set(self) -> bool:
        return self.path.exists()

    def set(self) -> None:
        write_json(self.path, {"by": user()})

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
