"""Models: shapes, determinism, registry, and per-sample gradients against a slow loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from opacus import GradSampleModule

from client.loss import loss_per_image
from common.checks import parse_experiment
from common.config import Experiment, ModelSettings
from common.errors import SettingsError
from common.models import MODELS, build_model

BASE = """
name: x
seed: 0
rounds: 1
local_steps: 1
threads: 1
data: {classes: [a, b, c], image_size: 32, channels: 1}
model: {name: cnn, width: 8}
strategy: {}
privacy: {unit: none}
"""


def experiment(name: str, channels: int) -> Experiment:
    base = parse_experiment(BASE)
    data = replace(base.data, channels=channels)
    return replace(base, data=data, model=ModelSettings(name, width=8))


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_per_sample_gradients_equal_a_micro_batch_loop(
    name: str, channels: int, multi_label: bool
) -> None:
    model = build_model(experiment(name, channels), seed=0)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, channels, 32, 32, generator=generator)
    labels = torch.eye(3)[[0, 1, 2, 1]]
    slow = []
    for i in range(4):
        model.zero_grad()
        loss_per_image(model(images[i : i + 1]), labels[i : i + 1], multi_label).sum().backward()
        slow.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    fast = GradSampleModule(model, loss_reduction="sum")
    loss_per_image(fast(images), labels, multi_label).sum().backward()
    for k, parameter in enumerate(model.parameters()):
        expected = torch.stack([gradients[k] for gradients in slow])
        assert expected.abs().max() > 0
        torch.testing.assert_close(parameter.grad_sample, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS.names())
def test_weights_follow_from_the_seed_and_leave_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    one, again, other = (build_model(experiment(name, 1), seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_model_lists_what_exists() -> None:
    with pytest.raises(SettingsError, match="did you mean 'resnet18'"):
        build_model(experiment("resnet19", 1))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(SettingsError, match="two things"):
        MODELS.register("cnn")(torch.nn.Linear)
