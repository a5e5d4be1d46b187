"""The small CNN: four convolutions, GroupNorm, global average."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from common.models.registry import MODELS, group_norm


@MODELS.register("cnn")
class CNN(nn.Module):
    """Four blocks of convolution, GroupNorm, ReLU and max-pooling, then a linear head.

    Args:
        in_channels: 1 or 3.
        num_classes: K, the number of logits.
        width: channels of the first block; the others have 2, 4 and 4 times as many.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        channels = [in_channels, width, 2 * width, 4 * width, 4 * width]
        self.features = nn.Sequential(
            *(_block(before, after) for before, after in itertools.pairwise(channels))
        )
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K); H and W at least 16."""
        features = self.features(images)  # (B, 4 width, H/16, W/16)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1),
        group_norm(after),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
