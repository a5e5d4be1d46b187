"""Mixed precision, on a processor that is made to use it: only forward and backward are rounded."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from client import precision
from client.loss import loss_per_image
from client.privacy.entropy import SecretStream
from client.privacy.gradients import patient_gradients
from client.privacy.optimizer import PatientOptimizer
from common.config import Precision
from common.models import MODELS, build_model
from tests.common.test_models import drawn_images, experiment

C = 0.05


def summed(name: str, images: Tensor, mode: Precision) -> PatientOptimizer:
    """The optimiser of one step, when it has clipped and summed."""
    model = build_model(experiment(name, 1), seed=0).train().to(memory_format=torch.channels_last)
    optimizer = PatientOptimizer(
        torch.optim.SGD(model.parameters(), lr=1.0),
        noise_multiplier=1e-3,
        max_grad_norm=C,
        denominator=1.0,
        stream=SecretStream(),
    )
    with patient_gradients(model, partial(loss_per_image, multi_label=False), mode) as fill:
        fill((images,), torch.eye(3)[torch.arange(len(images)) % 3], 1)
        assert {p.grad_sample.dtype for p in optimizer.params} == {torch.float32}
        optimizer.add_rows()
    return optimizer


def flat(optimizer: PatientOptimizer) -> Tensor:
    assert {p.summed_grad.dtype for p in optimizer.params} == {torch.float32}
    return torch.cat([p.summed_grad.flatten() for p in optimizer.params])


@pytest.mark.parametrize("name", MODELS.names())
def test_gradients_are_rounded_and_the_clip_and_noise_are_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn_images(3, size=32)
    exact = flat(summed(name, images, "float32"))
    assert torch.equal(flat(summed(name, images, "bfloat16")), exact)  # a processor stays exact
    monkeypatch.setattr(precision, "DEVICES", ("cpu",))
    optimizer = summed(name, images, "bfloat16")
    rounded = flat(optimizer)
    assert not torch.equal(rounded, exact)
    assert torch.cosine_similarity(rounded, exact, dim=0) > 0.5  # 121 layers: 0.7
    for row in range(3):
        alone = flat(summed(name, images[row : row + 1], "bfloat16"))
        assert float(alone.double().norm()) <= C * (1 + 1e-6)
    drawn: list[Tensor] = []
    while sum(map(len, drawn)) < 20_000:  # a head alone is few numbers: 10% would be chance
        optimizer.add_noise()
        drawn += [(p.grad - p.summed_grad).flatten() for p in optimizer.params]
    noise = torch.cat(drawn)
    assert 0.9 < float(noise.std()) / (1e-3 * C) < 1.1  # bfloat16 would have lost it: 8 bits


def test_one_row_that_is_not_finite_counts_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "DEVICES", ("cpu",))
    images = drawn_images(3)
    expected = flat(summed("cnn", images[:2], "bfloat16"))
    images[2] = torch.nan
    found = flat(summed("cnn", images, "bfloat16"))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-2)
