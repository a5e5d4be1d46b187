"""``model.trainable=head``: the backbone is not sent back, gets no noise, and stays to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from common.checks import check_settings
from common.compose import load_settings
from common.config import Experiment, Settings
from common.errors import SettingsError
from common.messages import TrainAnswer
from common.models import build_model
from common.parameters import arrays_of, to_record, trained_names
from server.job import Job
from server.rounds import run_rounds
from server.strategies import SHARED, build_strategy
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts
from tests.server.test_pretrained import own_file
from tests.server.test_rounds import TamperingGrid, lines

Folders = Callable[..., tuple[Cohorts, list[Path]]]
THREE = ["partition=iid", "partition.sites=3", "model.width=4", "data.image_size=16"]
PRETRAINED = ["model.trainable=head", "model.pretrained=a-file"]


@pytest.fixture
def job(site_folders: Folders, tmp_path: Path) -> Callable[..., tuple[Job, list[Path]]]:
    """A run of three sites that starts from a file."""

    def make(*overrides: str) -> tuple[Job, list[Path]]:
        prepared, folders = site_folders(*THREE, *PRETRAINED, *overrides)
        path = own_file(tmp_path / "file", prepared.experiment)
        output = tmp_path / "out"
        output.mkdir()
        return Job(prepared.experiment, "run", 3, output, 9, pretrained=path), folders

    become_server()
    return make


def check_frozen(experiment: Experiment, arrays: dict[str, np.ndarray]) -> None:  # type: ignore[type-arg]
    """All but the head are the file's, to the bit; all of the head has moved."""
    for name, value in arrays_of(build_model(experiment, seed=9)).items():
        assert np.array_equal(arrays[name], value) == name.startswith("backbone."), name


@pytest.mark.parametrize("strategy", ["fedadam", "scaffold", "ditto", "local", "geometric_median"])
def test_every_strategy_leaves_the_backbone_as_it_was(
    strategy: str, job: Callable[..., tuple[Job, list[Path]]]
) -> None:
    this, folders = job(f"strategy={strategy}")
    outcome = run_rounds(InProcessGrid(folders, None), this)
    assert outcome.rounds_applied == 2
    for arrays in outcome.models.values():
        check_frozen(this.experiment, arrays)


def test_under_privacy_the_backbone_gets_no_noise_and_is_not_sent_back(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    words = ["privacy.noise_multiplier=1", "privacy.delta=1e-3", "privacy.epsilon=null"]
    this, folders = job("privacy=patient", "privacy.public_patients=30", *words)
    sent: list[list[str]] = []
    grid = TamperingGrid(
        folders, lambda content: sent.append(list(TrainAnswer.unpack(content).arrays))
    )
    outcome = run_rounds(grid, this)
    assert sent == [["head.weight", "head.bias"]] * 2
    check_frozen(this.experiment, outcome.models[SHARED])


def test_a_site_that_sends_a_frozen_array_is_left_out(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    def tamper(content: RecordDict) -> None:
        arrays = TrainAnswer.unpack(content).arrays
        content["arrays"] = to_record(
            {**arrays, "backbone.features.0.0.bias": np.zeros(4, np.float32)}
        )

    this, folders = job()
    outcome = run_rounds(TamperingGrid(folders, tamper), this)
    refused = lines(this)[0]["refused"]
    assert isinstance(refused, dict)
    assert ["is not in the model" in why for why in refused.values()] == [True]
    check_frozen(this.experiment, outcome.models[SHARED])


def test_a_frozen_backbone_runs_without_autograd(settings: Callable[..., Settings]) -> None:
    own = settings(*THREE, *PRETRAINED)
    model = build_model(own.shared(own.data)).train()
    assert trained_names(model) == {"head.weight", "head.bias"}
    images = torch.rand(2, 1, 16, 16)
    assert model.features(images).grad_fn is None
    assert model(images).requires_grad


def test_a_strategy_with_nothing_to_keep_is_refused(settings: Callable[..., Settings]) -> None:
    own = settings(*THREE, *PRETRAINED, "strategy=fedbn")
    with pytest.raises(SettingsError, match=r"trainable=head that a site could train and keep"):
        build_strategy(own.shared(own.data))


def test_a_head_on_random_weights_is_refused() -> None:
    words = ["privacy=none", "data.root=x", "model.trainable=head"]
    with pytest.raises(SettingsError, match=r"model.trainable=head needs model.pretrained"):
        load_settings(words)
    assert check_settings(load_settings([*words, "model.pretrained=a-file"])) == []
