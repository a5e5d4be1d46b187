"""MobileNetV3-Small (Howard et al. 2019, table 2), torchvision's: the light one, for the edge."""

from __future__ import annotations

from torch import Tensor, nn

from common.model_settings import ModelSettings
from common.models.batch_norm import without_batch_norm
from common.models.classifier import Backbone
from common.models.registry import MODELS

LAST_HALVING = 9
"""Which of its layers halves the image for the last time."""


@MODELS.register("mobilenet")
class MobileNet(Backbone):
    """Eleven inverted residual blocks, with ``settings.norm`` in place of BatchNorm.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is that of the stem (16 in the paper); all others follow, rounded to
            eights. The ``small`` stem does not halve the image, that for ``imagenet`` does.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        from torchvision.models import mobilenet_v3_small

        super().__init__()
        self.features = mobilenet_v3_small(width_mult=settings.width / 16).features
        stem = self.features[0][0]
        stride = 1 if settings.stem == "small" else 2
        self.features[0][0] = nn.Conv2d(
            in_channels, stem.out_channels, 3, stride=stride, padding=1, bias=False
        )
        if settings.fine_map:
            depthwise = self.features[LAST_HALVING].block[1][0]
            depthwise.stride = (1, 1)
        for layer in self.features:
            if getattr(layer, "use_res_connect", False):
                layer.block.append(_Copy())
        self.out_channels = self.features[-1].out_channels
        without_batch_norm(self, settings.norm)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 36 width, H/16, W/16), or H/32, W/32 for ``imagenet``."""
        features: Tensor = self.features(images)
        return features


class _Copy(nn.Module):
    """torchvision adds to what a block gives in place, which Opacus's hooks forbid."""

    def forward(self, images: Tensor) -> Tensor:
        return images.clone()
