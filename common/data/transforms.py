"""Tensors in, tensors out: normalisation by public constants, and augmentation.

Nothing here is fitted on data: a mean or range computed over patients would let one patient
change what another contributes, which the privacy proof excludes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.config import Augmentation

MEAN, STD = 0.5, 0.25


def normalise(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) in 0..255 to float32 of about zero mean, by constants."""
    return (images.to(torch.float32) / 255.0 - MEAN) / STD


def augment(images: Tensor, kind: Augmentation, generator: torch.Generator) -> Tensor:
    """Apply one random symmetry to each image.

    Args:
        images: (B, C, H, W), square for ``dihedral``.
        kind: ``none``, ``flip`` (left-right) or ``dihedral`` (eight symmetries of the square).
        generator: source of the choices, on the CPU.

    Returns:
        A tensor like ``images``; the input is not changed.
    """
    if kind == "none" or len(images) == 0:
        return images
    choice = torch.randint(8, (len(images),), generator=generator).to(images.device)
    images = torch.where(_bit(choice, 0), images.flip(3), images)
    if kind == "dihedral":
        images = torch.where(_bit(choice, 1), images.flip(2), images)
        images = torch.where(_bit(choice, 2), images.transpose(2, 3), images)
    return images


def _bit(choice: Tensor, bit: int) -> Tensor:
    return (choice >> bit & 1).bool()[:, None, None, None]
