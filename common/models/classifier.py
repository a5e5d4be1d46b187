"""What every classifier is: a backbone, and a head on its feature map."""

from __future__ import annotations

from torch import Tensor, nn


class Backbone(nn.Module):
    """Images (B, C, H, W) to a feature map (B, ``out_channels``, h, w)."""

    out_channels: int


class Classifier(nn.Module):
    """A linear head on the mean of the feature map: W mean(features) + b.

    Args:
        backbone: gives the feature map.
        num_classes: K, the number of logits.
    """

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: nn.Module = nn.Linear(backbone.out_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K); H and W at least 16."""
        logits: Tensor = self.head(self.backbone(images).mean(dim=(2, 3)))
        return logits
