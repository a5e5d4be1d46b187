"""The small CNN: four convolutions with GroupNorm."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from common.model_settings import ModelSettings
from common.models.batch_norm import group_norm
from common.models.classifier import Backbone
from common.models.registry import MODELS, require_small_stem


@MODELS.register("cnn")
class CNN(Backbone):
    """Four blocks of convolution, GroupNorm, ReLU and max-pooling.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is that of the first block; the others have 2, 4 and 4 times as many.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        super().__init__()
        require_small_stem(settings)
        width = settings.width
        channels = [in_channels, width, 2 * width, 4 * width, 4 * width]
        blocks = [_block(before, after) for before, after in itertools.pairwise(channels)]
        if settings.fine_map:
            blocks[-1].pop(-1)  # its pooling
        self.features = nn.Sequential(*blocks)
        self.out_channels = channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 width, H/16, W/16), or H/8, W/8 for a fine map."""
        features: Tensor = self.features(images)
        return features


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1),
        group_norm(after),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
