"""Tensors in, tensors out: normalisation by public constants, and augmentation.

Nothing here is fitted on data: a mean or range computed over patients would let one patient
change what another contributes, which the privacy proof excludes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.config import Augmentation

MEAN, STD = 0.5, 0.25


def normalise(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) in 0..255 to float32 of about zero mean, by constants."""
    return (images.to(torch.float32) / 255.0 - MEAN) / STD


@dataclass(frozen=True)
class Jitter:
    """The greatest change of an image, each way; what is drawn is uniform between."""

    degrees: float
    """Rotation about the centre."""
    shift: float
    """Along each axis, as a share of the side."""
    scale: float
    """Relative."""
    gamma: float
    """Exponent of the grey levels, in natural logarithm."""
    contrast: float
    """Relative, about mid grey."""
    mirror: bool
    """Half of the images are mirrored left to right."""


JITTERS: Mapping[Augmentation, Jitter] = {
    # The heart is on the left: never mirrored. How a patient stands, and how the film is exposed.
    "chest": Jitter(7, 0.05, 0.08, 0.2, 0.1, mirror=False),
    # The transducer may be turned round; depth points down. Gain and compression are the user's.
    "ultrasound": Jitter(5, 0.05, 0.10, 0.3, 0.2, mirror=True),
}


def augment(images: Tensor, kind: Augmentation, generator: torch.Generator) -> Tensor:
    """Change each image by its own random draw.

    Args:
        images: uint8 (B, C, H, W), square but for ``flip``.
        kind: ``none``, ``flip`` (left-right), ``dihedral`` (eight symmetries of the square), or one
            of :data:`JITTERS`, which turn no image upside down.
        generator: source of the choices, on the CPU.

    Returns:
        A tensor like ``images``, float32 in 0..255 for a jitter; the input is not changed.
    """
    if kind == "none" or len(images) == 0:
        return images
    if kind in JITTERS:
        return _jitter(images, JITTERS[kind], generator)
    choice = torch.randint(8, (len(images),), generator=generator).to(images.device)
    images = torch.where(_bit(choice, 0), images.flip(3), images)
    if kind == "dihedral":
        images = torch.where(_bit(choice, 1), images.flip(2), images)
        images = torch.where(_bit(choice, 2), images.transpose(2, 3), images)
    return images


def _jitter(images: Tensor, jitter: Jitter, generator: torch.Generator) -> Tensor:
    """One affine map and one curve of grey levels an image; what comes in from outside is black."""
    draws = 2 * torch.rand((7, len(images)), generator=generator) - 1  # each in [-1, 1)
    maps = affine_maps(draws, jitter).to(images.device)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    unit = F.grid_sample(images.to(torch.float32) / 255, grid, align_corners=False)
    gamma = torch.exp(draws[5] * jitter.gamma)[:, None, None, None].to(images.device)
    contrast = (1 + draws[6] * jitter.contrast)[:, None, None, None].to(images.device)
    return 255 * ((unit**gamma - 0.5) * contrast + 0.5).clamp(0, 1)


def affine_maps(draws: Tensor, jitter: Jitter) -> Tensor:
    """Where in the input each output pixel comes from, in units of half a side.

    Args:
        draws: float32 (5 or more, B) in [-1, 1): rotation, scale, mirror, and the two shifts.
        jitter: what 1 stands for.

    Returns:
        float32 (B, 2, 3): rotation, perhaps with a mirror, over the scale; and the shift.
    """
    angle = torch.deg2rad(draws[0] * jitter.degrees)
    scale = 1 + draws[1] * jitter.scale
    side = torch.ones_like(angle)
    if jitter.mirror:
        side[draws[2] < 0] = -1.0
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [side * cos, -side * sin, 2 * jitter.shift * draws[3]]
    rows += [sin, cos, 2 * jitter.shift * draws[4]]
    return torch.stack(rows, dim=1).reshape(-1, 2, 3)


def _bit(choice: Tensor, bit: int) -> Tensor:
    return (choice >> bit & 1).bool()[:, None, None, None]
