"""A disk that is full when a checkpoint is written: the old one stays, bit for bit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.checkpoint import read_tensors, write_tensors

DISK_BYTES = 1 << 20
MODEL_BYTES = 300_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def model(seed: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).standard_normal(MODEL_BYTES // 4)
    return {"weight": values.astype(np.float32)}


def test_the_old_checkpoint_stays_and_the_next_one_succeeds_once_there_is_room(disk: Path) -> None:
    folder = disk / "checkpoint"
    write_tensors(folder, "checkpoint", model(1), {"round": 1}, versioned=True)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES - 2 * MODEL_BYTES))
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors(folder, "checkpoint", model(2), {"round": 2}, versioned=True)
    assert caught.value.errno == errno.ENOSPC
    tensors, facts = read_tensors(folder, "checkpoint")
    assert facts["round"] == 1
    assert tensors["weight"].tobytes() == model(1)["weight"].tobytes()
    assert len(list(folder.iterdir())) == 2  # nothing half-written is left
    ballast.unlink()
    write_tensors(folder, "checkpoint", model(2), {"round": 2}, versioned=True)
    tensors, facts = read_tensors(folder, "checkpoint")
    assert facts["round"] == 2
    assert tensors["weight"].tobytes() == model(2)["weight"].tobytes()
