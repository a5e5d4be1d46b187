"""Modules that carry data around the noise are refused by name."""

from __future__ import annotations

import pytest
from torch import nn

from client.privacy.guard import refuse_leaking_modules
from common.errors import PrivacyError
from common.models.batch_norm import group_norm


def frozen_batch_norm() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    for parameter in norm.parameters():
        parameter.requires_grad = False
    return norm


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        frozen_batch_norm(),
        nn.InstanceNorm2d(4, track_running_stats=True),
    ],
)
def test_running_statistics_are_refused(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm)
    with pytest.raises(PrivacyError, match=r"1[.,;]|: 1"):
        refuse_leaking_modules(model, 1, 16)


@pytest.mark.parametrize("norm", [group_norm(4), nn.InstanceNorm2d(4), nn.LayerNorm([4, 14, 14])])
def test_norms_within_an_image_are_accepted(norm: nn.Module) -> None:
    refuse_leaking_modules(nn.Sequential(nn.Conv2d(1, 4, 3), norm), 1, 16)
