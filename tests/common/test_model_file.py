"""A model is read whole and as what it is, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.checkpoint import write_tensors
from common.config import Experiment
from common.errors import CheckpointError
from common.metrics import OperatingPoint
from common.metrics.thresholds import Wanted
from common.model_file import BOUND, read_model_file, write_model_file
from common.model_settings import ModelSettings
from common.models import build_model
from common.parameters import Arrays, arrays_of


@pytest.fixture
def arrays(experiment: Experiment) -> Arrays:
    return arrays_of(build_model(experiment, seed=3))


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``model.json`` by hand, as nobody should."""
    path = folder / "model.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def test_a_model_reads_back_as_it_was_written(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    experiment = replace(experiment, data=replace(experiment.data, resize="pad"))
    write_model_file(tmp_path, "model-clinic", experiment, "r1", arrays)
    file, model = read_model_file(tmp_path / "model-clinic.json")
    assert (file.run_id, file.experiment, file.model) == ("r1", "test", experiment.model)
    read = file.as_experiment()
    assert read.data == experiment.data
    assert not read.privacy.enabled
    assert not model.training
    images = torch.rand(3, 1, 16, 16)
    expected = build_model(experiment, seed=3).eval()
    assert torch.equal(model(images), expected(images))


def test_what_was_fitted_goes_with_the_model(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    point = OperatingPoint(Wanted(0.9, 0.95, 0.9), 0.8, (7, None), (5, 4096), 3)
    write_model_file(tmp_path, "model", experiment, "r1", arrays, point)
    assert read_model_file(tmp_path)[0].operating_point == point
    changed(tmp_path, lambda f: f["operating_point"].update(temperature=2.0))
    with pytest.raises(CheckpointError, match=r"operating_point = .*2.0.*written for .*0.8"):
        read_model_file(tmp_path)
    for wrong, problem in (
        (replace(point, temperature=0.0), "temperature: expected above 0"),
        (replace(point, at_sensitivity=(1,)), "expected 2 thresholds of each kind"),
        (replace(point, conformal=4097), "expected edges from 0 to 4096"),
    ):
        write_model_file(tmp_path, "model", experiment, "r1", arrays, wrong)
        with pytest.raises(CheckpointError, match=problem):
            read_model_file(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f["model"].update(name="resnet18"), r"model = .*resnet18.*written for .*cnn"),
        (lambda f: f["classes"].reverse(), r'classes = \["b", "a"\].*written for \["a", "b"\]'),
        (lambda f: f.update(classes=["a", "c"]), "classes"),
        (lambda f: f.update(image_size=32), "image_size = 32"),
        (lambda f: f.update(channels=3), "channels = 3"),
        (lambda f: f.update(resize="crop"), r'resize = "crop".*"stretch"'),
        (lambda f: f.update(multi_label=True), "multi_label"),
        (lambda f: f["normalisation"].update(mean=0.4), "normalisation"),
        (lambda f: f.pop("resize"), "resize = nothing"),
        (lambda f: f.pop("classes"), "classes = nothing"),
        (lambda f: f.pop("run_id"), "'run_id' must be given"),
        (lambda f: f.update(sorcery=1), "unknown setting 'sorcery'"),
        (lambda f: f.update(schema=2), "schema: expected 1, got 2"),
    ],
)
def test_a_changed_json_is_refused(
    experiment: Experiment,
    arrays: Arrays,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    problem: str,
) -> None:
    write_model_file(tmp_path, "model", experiment, "r1", arrays)
    changed(tmp_path, change)
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_model_file(tmp_path)
    assert "model.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda a: a.pop("head.bias"), "'head.bias' is missing"),
        (lambda a: a.update(extra=np.zeros(1, np.float32)), "'extra' is not in the model"),
        (lambda a: a.update({"head.bias": np.zeros(3, np.float32)}), "'head.bias' has shape"),
        (lambda a: a["head.bias"].fill(np.nan), "'head.bias' holds NaN"),
    ],
)
def test_arrays_of_another_architecture_are_refused(
    experiment: Experiment,
    arrays: Arrays,
    tmp_path: Path,
    change: Callable[[Arrays], object],
    problem: str,
) -> None:
    change(arrays)
    write_model_file(tmp_path, "model", experiment, "r1", arrays)
    with pytest.raises(CheckpointError, match=problem):
        read_model_file(tmp_path)


def test_the_tensors_of_another_label_list_are_refused(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    other = replace(experiment, data=replace(experiment.data, classes=("b", "a")))
    write_model_file(tmp_path / "one", "model", experiment, "r1", arrays)
    write_model_file(tmp_path / "other", "model", other, "r2", arrays)
    digest = json.loads((tmp_path / "other" / "model.json").read_text())["sha256"]
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "one" / "model.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        read_model_file(tmp_path / "one")
    changed(tmp_path / "one", lambda facts: facts.update(sha256=digest))
    with pytest.raises(CheckpointError, match="classes"):
        read_model_file(tmp_path / "one")


def test_tensors_that_do_not_say_what_they_are_of_are_refused(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    write_model_file(tmp_path, "model", experiment, "r1", arrays)
    facts = json.loads((tmp_path / "model.json").read_text())
    write_tensors(tmp_path, "model", arrays, facts)
    with pytest.raises(CheckpointError, match="written for nothing"):
        read_model_file(tmp_path)


def test_a_setting_that_is_younger_than_the_file_has_its_default(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    write_model_file(tmp_path, "model", experiment, "r1", arrays)
    facts = json.loads((tmp_path / "model.json").read_text())
    del facts["resize"]
    write_tensors(tmp_path, "model", arrays, facts, bound=[k for k in BOUND if k != "resize"])
    assert read_model_file(tmp_path)[0].resize == "stretch"


def test_an_unknown_architecture_is_refused_with_those_that_exist(
    experiment: Experiment, arrays: Arrays, tmp_path: Path
) -> None:
    other = replace(experiment, model=ModelSettings("vit", 4))
    write_model_file(tmp_path, "model", other, "r1", arrays)
    with pytest.raises(CheckpointError, match=r"vit.*cnn"):
        read_model_file(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: cannot be read"):
        read_model_file(tmp_path)
