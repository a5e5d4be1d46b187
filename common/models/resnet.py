"""ResNet-18 (He et al. 2016, table 1)."""

from __future__ import annotations

from torch import Tensor, nn

from common.model_settings import ModelSettings
from common.models.batch_norm import without_batch_norm
from common.models.classifier import Backbone
from common.models.registry import MODELS


@MODELS.register("resnet18")
class ResNet18(Backbone):
    """Eight residual blocks of two convolutions, with ``settings.norm`` in place of BatchNorm.

    torchvision's own adds in place, which Opacus's hooks forbid; the arrays are the same.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is that of the first stage (64 in the paper), doubled in each of three
            more; the ``small`` stem is one 3×3 convolution, that for ``imagenet`` the paper's.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        super().__init__()
        width = settings.width
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        if settings.stem == "imagenet":
            self.stem[0] = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
            self.stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        blocks: list[nn.Module] = []
        before = width
        for stage, stride in enumerate((1, 2, 2, 1 if settings.fine_map else 2)):
            after = width * 2**stage
            blocks += [_BasicBlock(before, after, stride), _BasicBlock(after, after, 1)]
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = before
        without_batch_norm(self, settings.norm)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 8 width, H/8, W/8), or less by the stem; twice that if fine."""
        features: Tensor = self.blocks(self.stem(images))
        return features


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )
        self.activation = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(images) + self.shortcut(images))
        return result
