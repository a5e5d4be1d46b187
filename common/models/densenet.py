"""DenseNet-121 (Huang et al. 2017, table 1; the backbone of CheXNet), torchvision's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from common.model_settings import ModelSettings
from common.models.batch_norm import without_batch_norm
from common.models.classifier import Backbone
from common.models.registry import MODELS

LAYERS = (6, 12, 24, 16)


@MODELS.register("densenet121")
class DenseNet121(Backbone):
    """Four dense blocks of 6, 12, 24 and 16 layers, with ``settings.norm`` in place of BatchNorm.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is that of the stem (64 in the paper); each layer adds half as many
            channels. The ``small`` stem is one 3×3 convolution, that for ``imagenet`` the paper's.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        from torchvision.models import DenseNet

        super().__init__()
        width, small = settings.width, settings.stem == "small"
        self.features = DenseNet(max(1, width // 2), LAYERS, width, num_classes=1).features
        self.features.conv0 = (
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            if small
            else nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        )
        if small:
            self.features.pool0 = nn.Identity()
        if settings.fine_map:
            self.features.transition3.pool = nn.Identity()
        self.out_channels = self.features.norm5.num_features
        without_batch_norm(self, settings.norm)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 16 width, H/8, W/8), or H/32, W/32 for ``imagenet``."""
        return F.relu(self.features(images))
