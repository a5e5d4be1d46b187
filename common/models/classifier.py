"""What every classifier is: a backbone, a head on its feature map, and perhaps metadata."""

from __future__ import annotations

from torch import Tensor, nn

from common.data.metadata import Encodings
from common.models.centre import Centre
from common.models.fusion import Fusion

Inputs = tuple[Tensor, ...]
"""What a classifier is called with: images, and where it takes metadata, those too."""


class Backbone(nn.Module):
    """Images (B, C, H, W) to a feature map (B, ``out_channels``, h, w)."""

    out_channels: int


class Classifier(nn.Module):
    """A linear head on the mean of the feature map, plus what the metadata say.

    Args:
        backbone: gives the feature map.
        num_classes: K, the number of logits.
        metadata: what is fused with the image; empty for images alone.
        prepare: what is done to the images first, where it is not nothing.
        centred: whether the features' mean is measured, and subtracted.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        metadata: Encodings,
        prepare: nn.Module | None = None,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.prepare = prepare or nn.Identity()
        self.backbone = backbone
        self.centre = Centre(backbone.out_channels) if centred else None
        self.head = self.make_head(backbone.out_channels, num_classes)
        self.fusion = Fusion(metadata, num_classes) if metadata else None

    def make_head(self, channels: int, num_classes: int) -> nn.Module:
        return nn.Linear(channels, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The feature map (B, ``out_channels``, h, w)."""
        features: Tensor = self.backbone(self.prepare(images))
        return features if self.centre is None else self.centre(features)

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Classify.

        Args:
            images: normalised, float32 (B, C, H, W); H and W at least 16.
            metadata: encoded, float32 (B, M). Without them all count as missing.

        Returns:
            Logits float32 (B, K).
        """
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits if self.fusion is None else logits + self.fusion(metadata, len(images))
