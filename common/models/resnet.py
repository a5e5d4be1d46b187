"""ResNet-18 (He et al. 2016, table 1) with GroupNorm and a stem for small images."""

from __future__ import annotations

from torch import Tensor, nn

from common.models.registry import MODELS, group_norm


@MODELS.register("resnet18")
class ResNet18(nn.Module):
    """Eight residual blocks of two convolutions; the stem is one 3×3 convolution, no pooling.

    Args:
        in_channels: 1 or 3.
        num_classes: K, the number of logits.
        width: channels of the first stage (64 in the paper), doubled in each of three more.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False),
            group_norm(width),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        before = width
        for stage in range(4):
            after = width * 2**stage
            blocks += [
                _BasicBlock(before, after, 1 if stage == 0 else 2),
                _BasicBlock(after, after, 1),
            ]
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K)."""
        features = self.blocks(self.stem(images))  # (B, 8 width, H/8, W/8)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            group_norm(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            group_norm(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), group_norm(after)
            )
        self.activation = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(images) + self.shortcut(images))
        return result
