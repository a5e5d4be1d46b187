"""Models: shapes, determinism, registry, and per-sample gradients against a slow loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from torch import Tensor

from client.loss import loss_per_image
from client.privacy.gradients import patient_gradients
from client.privacy.guard import refuse_leaking_modules
from common.checks import parse_experiment
from common.config import Experiment
from common.data.metadata import encode
from common.errors import ModelError, SettingsError
from common.model_settings import MetadataEncoding, ModelSettings
from common.models import MODELS, build_model, evidence_map, normalisation_names
from common.models.wsnet import ALPHA, GAMMA, Block, WSConv2d

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


def experiment(name: str, channels: int, **model: Any) -> Experiment:
    base = parse_experiment(BASE)
    data = replace(base.data, channels=channels)
    return replace(base, data=data, model=ModelSettings(name, **{"width": 4} | model))


FROM_TORCHVISION = ["densenet121", "mobilenet", "resnet18"]
ARCHITECTURES = [(n, "group") for n in MODELS.names()] + [(n, "folded") for n in FROM_TORCHVISION]
FUSED = {"age": MetadataEncoding(mean=60, scale=15), "sex": MetadataEncoding(values=("F", "M"))}


@pytest.mark.parametrize("head", ["linear", "evidence"])
def test_metadata_have_per_sample_gradients_too(head: str) -> None:
    model = build_model(experiment("cnn", 1, head=head, metadata=FUSED)).double()
    images, metadata = drawn_images(3).double(), torch.rand(3, 5).double()
    labels = torch.eye(3).double()
    loss = partial(loss_per_image, multi_label=False)
    slow = []
    for i in range(3):
        model.zero_grad()
        loss(model(images[i : i + 1], metadata[i : i + 1]), labels[i : i + 1]).sum().backward()
        slow.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    with patient_gradients(model, loss) as fill:
        fill((images, metadata), labels, 1)
        fast = [p.grad_sample for p in model.parameters()]
    for k, found in enumerate(fast):
        torch.testing.assert_close(found, torch.stack([g[k] for g in slow]), atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("head", ["linear", "evidence"])
def test_metadata_move_the_logits_and_without_them_all_are_missing(head: str) -> None:
    model = build_model(experiment("cnn", 1, head=head, metadata=FUSED)).eval()
    images = drawn_images(2)
    missing = torch.from_numpy(encode({}, FUSED, 2))
    given = torch.from_numpy(encode({"age": ["75", "40"], "sex": ["F", "M"]}, FUSED, 2))
    assert torch.equal(model(images), model(images, missing))
    assert (model(images, given) - model(images)).abs().min() > 0
    if head == "evidence":
        maps = evidence_map(model, images, given)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), model(images, given), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    ["{}", "{mean: 60}", "{mean: 60, scale: 0}", "{values: [F, M], mean: 60, scale: 15}"],
)
def test_an_encoding_that_is_none_or_two_is_refused(wrong: str) -> None:
    text = BASE.replace("width: 8", f"width: 8, metadata: {{age: {wrong}}}")
    with pytest.raises(SettingsError, match=r"model\.metadata\.age: expected either values"):
        parse_experiment(text)


def drawn_images(count: int, channels: int = 1, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, generator=generator)


@pytest.mark.parametrize(("name", "norm"), ARCHITECTURES)
@pytest.mark.parametrize(
    ("channels", "head", "multi_label"), [(1, "linear", False), (3, "evidence", True)]
)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_per_sample_gradients_equal_a_micro_batch_loop(
    name: str, norm: str, channels: int, head: str, multi_label: bool
) -> None:
    model = build_model(experiment(name, channels, norm=norm, head=head), seed=0).double()
    images = drawn_images(3, channels).double()
    labels = torch.eye(3).double()
    slow = []
    for i in range(3):
        model.zero_grad()
        loss_per_image(model(images[i : i + 1]), labels[i : i + 1], multi_label).sum().backward()
        slow.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    fast = GradSampleModule(model, loss_reduction="sum")
    loss_per_image(fast(images), labels, multi_label).sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for k, parameter in enumerate(trained):
        expected = torch.stack([gradients[k] for gradients in slow])
        assert expected.abs().max() > 0
        torch.testing.assert_close(parameter.grad_sample, expected, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", MODELS.names())
def test_a_logit_is_the_mean_of_its_evidence_and_the_map_is_finer(name: str) -> None:
    images = drawn_images(2)
    model = build_model(experiment(name, 1, head="evidence")).eval()
    maps = evidence_map(model, images)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), model(images), atol=1e-6, rtol=0)
    linear = build_model(experiment(name, 1))
    assert maps.shape[2] == 2 * linear.backbone(images).shape[2]
    with pytest.raises(ModelError, match=r"model\.head=evidence"):
        evidence_map(linear, images)


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_the_stem_for_imagenet_halves_the_image_as_the_papers_do(name: str) -> None:
    model = build_model(experiment(name, 3, stem="imagenet"))
    assert model.backbone(drawn_images(2, 3, 64)).shape[2:] == (2, 2)
    small = experiment(name, 3, stem="imagenet").to_yaml().replace("size: 32", "size: 28")
    with pytest.raises(SettingsError, match="32 or more"):
        parse_experiment(small)


@pytest.mark.parametrize("name", ["cnn", "wsnet"])
def test_a_stem_or_norm_that_a_model_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        build_model(experiment(name, 1, stem="imagenet", norm="folded"))
    assert "has only the stem for small images" in str(refused.value)
    assert "never had a BatchNorm" in str(refused.value)


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_what_is_folded_normalises_nothing(name: str) -> None:
    """No layer looks at its own statistics, and the strategy that keeps such layers has none."""
    assert normalisation_names(build_model(experiment(name, 1)))
    assert not normalisation_names(build_model(experiment(name, 1, norm="folded")))


@pytest.mark.parametrize(("name", "norm"), ARCHITECTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_buffer_follows_the_data(name: str, norm: str, channels: int) -> None:
    refuse_leaking_modules(build_model(experiment(name, channels, norm=norm)), channels, 32)


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


def test_wsnet_uses_filters_of_mean_zero_and_norm_one() -> None:
    layer = WSConv2d(8, 16, 3)
    filters, _ = layer.standardised()
    torch.testing.assert_close(filters.mean(dim=1), torch.zeros(16), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters.square().sum(dim=1), torch.ones(16), atol=1e-4, rtol=0)


def test_a_block_of_wsnet_adds_alpha_squared_to_the_variance_of_its_signal() -> None:
    """Each convolution's input has variance 1, or the branch would grow or fade with depth."""
    torch.manual_seed(0)
    signal = 2**0.5 * torch.randn(16, 64, 16, 16)
    branch = (Block(64, 64, 1, scale=GAMMA / 2**0.5)(signal) - signal) / ALPHA
    assert 0.8 < branch[:, :, 2:-2, 2:-2].var() < 1.2  # away from the padding
