"""Every model's gradients as training takes them: in its layout, by patient, clipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common.models import build_model, densenet
from tests.client.test_gradients import VIEWS, by_loop, clipped_sum
from tests.common.test_models import ARCHITECTURES, FROM_TORCHVISION, experiment

CASES = [
    *((name, norm, "small") for name, norm in ARCHITECTURES),
    *((name, norm, "imagenet") for name in FROM_TORCHVISION for norm in ("group", "folded")),
]
LAYOUT = torch.channels_last
"""As ``client/precision.py`` has models and images."""


@pytest.mark.parametrize(("name", "norm", "stem"), CASES)
def test_the_views_mean_is_clipped_as_in_a_loop_and_nan_is_nobody(
    name: str, norm: str, stem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(densenet, "LAYERS", (1, 2, 1, 1))
    model = build_model(experiment(name, 3, norm=norm, stem=stem), seed=0).train()
    images, labels = batch(64 if stem == "imagenet" else 32)
    rows = [
        by_loop(model, images[i : i + VIEWS], labels[i : i + VIEWS])
        for i in range(0, len(images), VIEWS)
    ]

    model.to(memory_format=LAYOUT)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=LAYOUT)
    found = clipped_sum(model, images, labels).double()
    torch.testing.assert_close(found, rows[0] + rows[1], atol=2e-6, rtol=1e-3)

    images[1] = torch.nan
    found = clipped_sum(model, images, labels).double()
    torch.testing.assert_close(found, rows[1], atol=2e-6, rtol=1e-3)


def batch(size: int) -> tuple[Tensor, Tensor]:
    """Two patients, some views of each."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2 * VIEWS, 3, size, size, generator=generator)
    return images, torch.eye(3)[:2].repeat_interleave(VIEWS, dim=0)
