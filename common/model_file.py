"""A model on disk: ``model.json`` says all that its use needs, ``model.safetensors`` holds arrays.

What decides the meaning of the arrays (the architecture, the ordered classes, how images are
prepared) stands in both files. A checkpoint of another architecture, or of another list of labels,
is refused and never loaded in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.checkpoint import read_tensors, write_tensors
from common.checks import check_experiment
from common.config import Experiment, PrivacyTarget, StrategySettings, TaskSettings
from common.data.transforms import MEAN, STD
from common.errors import CheckpointError, ModelError, SettingsError
from common.evaluation import EvaluationSettings, Grouping
from common.metrics.thresholds import OperatingPoint
from common.model_settings import ModelSettings
from common.models import build_model
from common.models.classifier import Classifier
from common.parameters import load_arrays
from common.schema import build, narrow, to_plain

SCHEMA = 1
BOUND = ("model", *(item.name for item in fields(TaskSettings)), "normalisation", "operating_point")
"""What the tensors' own file says too."""
MEANING = ("model", "classes")
"""What it must say. Another setting may be younger than the file: then its default was meant."""
OF_THE_FILES = ("tensors", "sha256")


@dataclass(frozen=True)
class Normalisation:
    """A level of 0 to 255 becomes (level / 255 − ``mean``) / ``std``."""

    mean: float = MEAN
    std: float = STD


@dataclass(frozen=True, kw_only=True)
class ModelFile(TaskSettings):
    """The whole of ``model.json``: the task, with its classes set, and these."""

    schema: int = SCHEMA
    run_id: str
    experiment: str
    """Name of the experiment that trained it."""
    model: ModelSettings
    """The architecture."""
    subgroups: Mapping[str, Grouping] = field(default_factory=dict)
    """By what its training run was evaluated: columns of metadata, each with its groups."""
    normalisation: Normalisation = field(default_factory=Normalisation)
    operating_point: OperatingPoint | None = None
    """Thresholds, as edges of the grid of scores, and a temperature; ``None``: none was fitted."""

    def as_experiment(self) -> Experiment:
        """What scoring needs of the shared experiment; nothing can be trained by it."""
        return Experiment(
            name=self.experiment,
            seed=0,
            rounds=1,
            local_steps=1,
            threads=1,
            data=narrow(TaskSettings, self),
            model=self.model,
            strategy=StrategySettings(),
            privacy=PrivacyTarget(unit="none"),
            evaluation=EvaluationSettings(subgroups=self.subgroups),
        )


def write_model_file(
    folder: Path,
    stem: str,
    experiment: Experiment,
    run_id: str,
    arrays: Mapping[str, NDArray[np.float32]],
    point: OperatingPoint | None = None,
) -> None:
    """Write ``<stem>.json`` and ``<stem>.safetensors``.

    Args:
        folder: where to write.
        stem: ``model``, or ``model-<site>`` where each site has its own.
        experiment: what trained it.
        run_id: of the run.
        arrays: the model's float32 arrays by name.
        point: what was fitted for it on validation patients.
    """
    facts = ModelFile(
        **{item.name: getattr(experiment.data, item.name) for item in fields(TaskSettings)},
        run_id=run_id,
        experiment=experiment.name,
        model=experiment.model,
        subgroups=experiment.evaluation.subgroups,
        operating_point=point,
    )
    write_tensors(folder, stem, arrays, to_plain(facts), bound=BOUND)


def read_model_file(place: Path) -> tuple[ModelFile, Classifier]:
    """Read a model for use.

    Args:
        place: a folder with ``model.json``, or a JSON file as ``model-<site>.json``.

    Returns:
        What is known of it, and the classifier on the CPU, in evaluation mode.

    Raises:
        CheckpointError: where a file is missing, damaged or incomplete, is of another program, or
            where JSON, tensors and architecture do not belong together.
    """
    path = place if place.suffix == ".json" else place / "model.json"
    arrays, facts = read_tensors(path.parent, path.stem, bound=MEANING)
    try:
        known = {key: value for key, value in facts.items() if key not in OF_THE_FILES}
        file = build(ModelFile, known)
        problems = check_experiment(file.as_experiment())
        if file.schema != SCHEMA:
            problems.append(f"schema: expected {SCHEMA}, got {file.schema}")
        if file.normalisation != Normalisation():
            problems.append(f"normalisation: expected {Normalisation()}, got {file.normalisation}")
        if file.operating_point is not None:
            problems += file.operating_point.problems(len(file.as_experiment().classes))
        if problems:
            raise SettingsError(problems)
        model = build_model(file.as_experiment())
        load_arrays(model, arrays)
    except (SettingsError, ModelError) as error:
        lines = "\n".join(f"{path}: {line}" for line in str(error).splitlines())
        raise CheckpointError(lines) from error
    return file, model.eval()
