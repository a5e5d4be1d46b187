"""What stands in the place of BatchNorm: GroupNorm, or the constants that it had come to.

BatchNorm's statistics would carry data around the noise, so no model here has one. A backbone is
drawn as its paper has it, and then gives its BatchNorms away.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.data.transforms import MEAN, STD
from common.model_settings import Norm

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def without_batch_norm(module: nn.Module, norm: Norm) -> None:
    """Replace, in place, every BatchNorm below ``module``, and every in-place activation.

    Opacus's hooks forbid writing over what a layer gave.
    """
    if norm == "folded":
        fold_batch_norms(module)
    for child in module.modules():
        for name, one in child.named_children():
            if isinstance(one, nn.BatchNorm2d):
                setattr(child, name, group_norm(one.num_features))
        if getattr(child, "inplace", False):
            child.inplace = False  # type: ignore[assignment]


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (Wu and He 2018) of at most eight groups: no statistics across images."""
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def fold_batch_norms(module: nn.Module) -> None:
    """Make every BatchNorm below ``module`` part of the weights, in place.

    In evaluation BatchNorm is y = s·x + t for each channel, with s = γ / √(variance + ε) and
    t = β − s·mean (Ioffe and Szegedy 2015, algorithm 2). Right after a convolution, s and t go into
    its weight and bias; elsewhere they become an :class:`Affine`. So the network is the same
    function as before, and has neither statistics nor normalisation left.

    Args:
        module: its children are called in the order in which they were registered, as those of
            torchvision's ResNet, DenseNet and MobileNet are.
    """
    before: nn.Module | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            scale, shift = _constants(child)
            if isinstance(before, nn.Conv2d):
                _scale_output(before, scale, shift)
                setattr(module, name, nn.Identity())
            else:
                setattr(module, name, Affine(scale, shift))
        else:
            fold_batch_norms(child)
        before = child


def _constants(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """s and t, each (C,)."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # no backbone has a BatchNorm without them
    assert variance is not None
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.detach() - scale * mean


def _scale_output(layer: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    bias = 0.0 if layer.bias is None else layer.bias.detach()
    layer.weight = nn.Parameter(layer.weight.detach() * scale[:, None, None, None])
    layer.bias = nn.Parameter(bias * scale + shift)


class Affine(nn.Module):
    """Each channel scaled and shifted: all that a frozen BatchNorm does."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return images * self.weight[:, None, None] + self.bias[:, None, None]


class ImageNetInput(nn.Module):
    """Images as ``normalise`` gives them to images as torchvision's weights expect them.

    By constants, and as a step of its own: folded into the first convolution, the shift would be
    missing where zeros pad the image, and the border would no longer be the same.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", STD / std, persistent=False)
        self.register_buffer("shift", (MEAN - mean) / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W), a grey that is all three colours, or (B, 3, H, W), to (B, 3, H, W)."""
        return images * self.scale + self.shift
