"""A disk that is full when a checkpoint is written: the old one stays, bit for bit."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from common.checkpoint import read_tensors, write_tensors

DISK_BYTES = 256 << 10
MODEL_BYTES = 80_000


def model(seed: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).standard_normal(MODEL_BYTES // 4)
    return {"weight": values.astype(np.float32)}


def test_the_old_checkpoint_stays_and_the_next_is_written_once_there_is_room(
    small_disk: Path,
) -> None:
    folder = small_disk / "checkpoint"
    write_tensors(folder, "checkpoint", model(1), {"round": 1}, versioned=True)
    ballast = small_disk / "ballast"
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
