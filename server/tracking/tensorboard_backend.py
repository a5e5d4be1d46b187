"""TensorBoard's event files, in ``tensorboard/`` of the run: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from common.config import Experiment


class TensorBoard:
    """One folder of event files; a run that goes on adds to it."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"))
        text = "".join(f"    {line}\n" for line in experiment.to_yaml().splitlines())
        self._writer.add_text("experiment", text)

    def log(self, values: Mapping[str, float], server_round: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, server_round)
        self._writer.flush()

    def close(self, complete: bool) -> None:  # noqa: ARG002
        self._writer.close()
