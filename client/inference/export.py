"""A model to ONNX: written, and found to say what PyTorch says, or not written at all."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.inference.onnx_graph import INPUT, to_onnx
from client.inference.trained import TrainedModel
from common.checkpoint import write_bytes
from common.errors import ModelError

CHECKED = 100
"""Images on which both must agree."""
TOLERANCE = 1e-4
"""Of a probability."""
TIMED, WARM_UP = 50, 5


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        size: its bytes.
        largest_difference: of a probability, over the images of the check.
        milliseconds: median of one image on one core, in onnxruntime.
    """

    path: str
    size: int
    largest_difference: float
    milliseconds: float


def export(trained: TrainedModel, path: Path) -> Exported:
    """Write a model as ONNX.

    Raises:
        ModelError: where onnxruntime gives other probabilities than PyTorch; nothing is written.
    """
    data = to_onnx(trained)
    session = open_session(data)
    images = check_images(CHECKED, trained.file.channels, trained.file.image_size)
    difference = float(np.abs(run(session, images) - trained.probabilities(images)).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"the exported model differs from PyTorch by {difference:.2g} in a probability, "
            f"expected at most {TOLERANCE:g}; nothing was written"
        )
    milliseconds = _time(session, images)
    write_bytes(path, data)
    return Exported(str(path), len(data), difference, milliseconds)


def open_session(data: bytes) -> Any:
    """An onnxruntime session on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(session: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities float32 (N, K) of uint8 (N, C, H, W)."""
    (probabilities,) = session.run(["probabilities"], {INPUT: images})
    return np.asarray(probabilities, dtype=np.float32)


def check_images(count: int, channels: int, size: int) -> NDArray[np.uint8]:
    """Smooth shapes with noise, from dark to bright and flat to steep; the same at every call.

    Returns:
        uint8 (count, channels, size, size).
    """
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(count, channels, 5, 5)).repeat(-(-size // 5), 2)
    smooth = coarse.repeat(-(-size // 5), 3)[:, :, :size, :size]
    mean, contrast = rng.uniform(0, 255, (count, 1, 1, 1)), rng.uniform(0, 80, (count, 1, 1, 1))
    noise = rng.normal(0, 8, smooth.shape)
    return np.clip(mean + contrast * smooth + noise, 0, 255).astype(np.uint8)


def _time(session: Any, images: NDArray[np.uint8]) -> float:
    seconds = []
    for number in range(WARM_UP + TIMED):
        image = images[number : number + 1]
        started = time.perf_counter()
        run(session, image)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[WARM_UP:])
