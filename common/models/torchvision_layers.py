"""What makes torchvision's networks fit for training under privacy."""

from __future__ import annotations

from torch import nn

from common.models.registry import group_norm


def without_batch_norm(module: nn.Module) -> None:
    """Replace, in place, every BatchNorm below ``module`` by GroupNorm, and in-place activations.

    BatchNorm's statistics would carry data around the noise; Opacus's hooks forbid writing over
    what a layer gave.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, group_norm(child.num_features))
        else:
            without_batch_norm(child)
        if getattr(child, "inplace", False):
            child.inplace = False  # type: ignore[assignment]
