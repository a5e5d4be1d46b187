"""Mistakes that others ship under differential privacy: each one here turns a test red."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from scipy import stats
from torch import nn

from client.app import handle_train
from client.cohort import Cohort
from client.entries import Charge
from client.privacy import training
from client.privacy.entropy import SecretStream
from client.privacy.optimizer import PatientOptimizer
from client.site import Site
from client.training import build_optimizer, train_plain
from common.checkpoint import read_tensors
from common.config import Experiment
from common.errors import CheckpointError, DataError, MessageError
from common.messages import TrainAnswer, TrainRequest
from common.models import build_model
from common.parameters import arrays_of
from tests.conftest import train_ids

MakeSite = Callable[..., Site]


def request(experiment: Experiment, number: int) -> TrainRequest:
    return TrainRequest("run", number, experiment, arrays_of(build_model(experiment, seed=0)))


def noise_only(experiment: Experiment) -> Experiment:
    """Plain SGD at rate 1 with q so small that every batch is empty: an update is its noise."""
    strategy = replace(
        experiment.strategy, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=1.0,
        schedule="constant",
    )  # fmt: skip
    privacy = replace(
        experiment.privacy, epsilon=None, noise_multiplier=1.0, sample_rate=1e-9, max_grad_norm=1e-8
    )
    return replace(experiment, rounds=4, local_steps=1, strategy=strategy, privacy=privacy)


def test_every_round_is_noised_also_after_a_restart(
    make_site: MakeSite, experiment: Experiment
) -> None:
    """An engine that is made in round 0 only leaves a client that restarts later without noise."""
    site, asked = make_site(dict.fromkeys(train_ids(4), 1)), noise_only(experiment)
    expected = 1.0 * 1e-8 / (1e-9 * 8)  # σC over the public denominator
    for number in (3, 1, 4):  # a handler keeps nothing, so the first call here is a restart
        before = request(asked, number)
        answer = TrainAnswer.unpack(handle_train(before.pack(), Site.open(site.folder)))
        moved = np.concatenate(
            [(answer.arrays[k] - v).ravel() for k, v in before.arrays.items()]
        ).astype(np.float64)
        assert moved.std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_noise_level_under_each_optimizer(name: str, experiment: Experiment) -> None:
    """Chi-square over a million coordinates: σC / denominator, for what the optimiser is given."""
    parameter = nn.Parameter(torch.zeros(1_000_000))
    strategy = replace(experiment.strategy, optimizer=name)  # type: ignore[arg-type]
    optimizer = PatientOptimizer(
        build_optimizer(nn.ParameterList([parameter]), strategy),
        noise_multiplier=1.3,
        max_grad_norm=0.5,
        denominator=8.0,
        stream=SecretStream(),
    )
    optimizer.noisy_step()
    assert parameter.grad is not None
    scaled = parameter.grad.double().numpy() / (1.3 * 0.5 / 8.0)
    low = stats.chi2.cdf((scaled**2).sum(), df=scaled.size)
    assert 2 * min(low, 1 - low) > 1e-6
    assert scaled.std() == pytest.approx(1.0, abs=0.004)


def test_no_optimizer_state_comes_from_another_round(
    make_site: MakeSite, experiment: Experiment
) -> None:
    """State of a phase without privacy would carry its gradients into the noised one."""
    site = make_site(dict.fromkeys(train_ids(4), 1))
    plain = replace(experiment, privacy=replace(experiment.privacy, unit="none", epsilon=None))
    cohort = Cohort.load(site, plain, "train")
    train_plain(build_model(plain, seed=0), cohort, plain, "clinic", 1)
    sizes: list[int] = []
    original = PatientOptimizer.noisy_step

    def counted(self: PatientOptimizer) -> None:
        sizes.append(len(self.original_optimizer.state))
        original(self)

    with patch.object(PatientOptimizer, "noisy_step", counted):
        for number in (1, 2):
            handle_train(replace(request(experiment, number), run_id="private").pack(), site)
    assert sizes[:: experiment.local_steps] == [0, 0]
    assert max(sizes) > 0  # and within a round it has some


def test_whom_a_step_draws_follows_from_no_seed(
    make_site: MakeSite, experiment: Experiment
) -> None:
    """Sampling that others can repeat has no amplification."""
    cohort = Cohort.load(make_site(dict.fromkeys(train_ids(7), 1)), experiment, "train")
    charge = Charge("patient", 0.5, 1.0, 1.0, 20)
    drawn: list[list[int]] = [[], []]
    original = training.poisson_batches
    for rows in drawn:

        def recorded(*args: object, rows: list[int] = rows) -> object:
            for batch in original(*args):  # type: ignore[arg-type]
                rows += [len(batch), *batch.tolist()]
                yield batch

        with patch.object(training, "poisson_batches", recorded):
            model = build_model(experiment, seed=0)
            training.train_private(model, cohort, experiment, charge, 4.0, 1)
    assert drawn[0] != drawn[1]


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def pickled_array(payload: Payload) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([payload], dtype=object), allow_pickle=True)
    return stream.getvalue()


def test_the_payload_would_work(tmp_path: Path) -> None:
    np.load(io.BytesIO(pickled_array(Payload(tmp_path / "ran"))), allow_pickle=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["object", "float32"])
def test_a_pickle_in_a_message_is_not_executed(
    make_site: MakeSite, experiment: Experiment, tmp_path: Path, dtype: str
) -> None:
    content: RecordDict = request(experiment, 1).pack()
    data = pickled_array(Payload(tmp_path / "ran"))
    arrays = {"head.bias": Array(dtype=dtype, shape=(1,), stype="numpy.ndarray", data=data)}
    content["arrays"] = ArrayRecord(arrays)
    with pytest.raises(MessageError):
        handle_train(content, make_site(dict.fromkeys(train_ids(4), 1)))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_a_checkpoint_or_model_file_is_not_executed(tmp_path: Path) -> None:
    data = pickle.dumps(Payload(tmp_path / "ran"))
    (tmp_path / "model.safetensors").write_bytes(data)
    facts = {"tensors": "model.safetensors", "sha256": sha256(data).hexdigest()}
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"model\.json"):
        read_tensors(tmp_path, "model")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_the_image_cache_is_not_executed(
    make_site: MakeSite, experiment: Experiment, tmp_path: Path
) -> None:
    site = make_site(dict.fromkeys(train_ids(4), 1))
    Cohort.load(site, experiment, "train")
    [cached] = (site.folder / "cache").glob("*.npy")
    cached.write_bytes(pickled_array(Payload(tmp_path / "ran")))
    with pytest.raises(DataError, match="delete it"):
        Cohort.load(site, experiment, "train")
    assert not (tmp_path / "ran").exists()
