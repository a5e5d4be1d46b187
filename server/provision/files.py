"""Writing so that nothing is half there, and no private key is ever readable by others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import SettingsError

PRIVATE = 0o600
PUBLIC = 0o644


def make_folder(path: Path) -> Path:
    """Make a folder that its owner alone can enter, whatever the umask."""
    path.mkdir(mode=0o700)
    path.chmod(0o700)
    return path


def write_new(path: Path, data: bytes | str, mode: int = PUBLIC) -> None:
    """Write a file that is not there yet; its mode holds from the first byte on."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(handle, mode)  # the umask may have taken more away
        stream.write(data.encode() if isinstance(data, str) else data)
        stream.flush()
        os.fsync(handle)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder under a temporary name, which becomes ``target`` at the end, or goes.

    Raises:
        SettingsError: where ``target`` exists and is not an empty folder.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = make_folder(target.with_name(f".{target.name}.{os.getpid()}"))
    try:
        yield folder
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def refuse_existing(path: Path) -> None:
    """Raise SettingsError where something is at ``path`` that would be written over."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise SettingsError(
            f"{path}: exists; nothing was written over. Name another output_dir, or move it away"
        )
