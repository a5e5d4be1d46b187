"""The mean of a frozen backbone's features, subtracted before the head.

Features of one kind of image have much in common, which tells no class from another. It would
take up most of each gradient's norm, and so of the clip, and leave little of what differs above
the noise. So the first step that a model is trained for measures it: see ``client/centring.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Centre(nn.Module):
    """Zero until it is measured; a buffer, since no gradient trains it.

    Args:
        channels: of the feature map.
    """

    value: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(channels, 1, 1))

    @property
    def is_measured(self) -> bool:
        return bool(self.value.any())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return features - self.value
