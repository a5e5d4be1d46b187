"""A model that nobody trained, for the phantom's labels: what it says is fixed by its seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.checks import parse_experiment
from common.config import Experiment
from common.model_file import write_model_file
from common.model_settings import ModelSettings
from common.models import build_model
from common.parameters import arrays_of

PHANTOM = """
name: phantom
seed: 0
rounds: 1
local_steps: 1
threads: 1
data: {classes: [nodule, infiltrate], negative_label: No Finding, multi_label: true, image_size: 32}
model: {name: cnn, width: 4}
strategy: {}
privacy: {unit: none}
"""


@pytest.fixture
def phantom() -> Experiment:
    return parse_experiment(PHANTOM)


@pytest.fixture
def make_model(tmp_path: Path, phantom: Experiment) -> Callable[..., Path]:
    """Write a model of the phantom's, with changes to its task; returns its folder."""

    def make(model: ModelSettings = phantom.model, **task: object) -> Path:
        data = replace(phantom.data, **task)  # type: ignore[arg-type]
        experiment = replace(phantom, data=data, model=model)
        folder = tmp_path / "model"
        arrays = arrays_of(build_model(experiment, seed=1))
        write_model_file(folder, "model", experiment, "a-run", arrays)
        return folder

    return make
