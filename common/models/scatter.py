"""Scattering: wavelets that nobody's images were needed for, and only a head to learn.

Under privacy every weight that is trained is trained with noise, and a few hundred patients cannot
teach a network through it. Tramèr and Boneh 2021, "Differentially Private Learning Needs Better
Features (or Much More Data)", put a linear head on the scattering transform (Bruna and Mallat 2013)
and beat networks that were trained whole. Nothing here is trained or fitted on patients.

What is fixed is the transform (``wavelets.py``), and what standardises it, which was measured on
images of random processes.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.data.transforms import MEAN, STD
from common.errors import SettingsError
from common.model_settings import ModelSettings
from common.models.classifier import Backbone
from common.models.random_processes import random_images
from common.models.registry import MODELS, require_small_stem
from common.models.wavelets import Wavelets

SAMPLE, SAMPLE_SIZE = 64, 48
"""How many random images the scale of each map follows from, and their pixels."""


@MODELS.register("scatter")
class Scatter(Backbone):
    """Fixed; its standardisation travels with the model, as parameters that are not trained.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is the number of orientations, an even number.

    Raises:
        SettingsError: for an odd width, or another stem.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        super().__init__()
        require_small_stem(settings)
        if settings.width % 2:
            raise SettingsError(
                f"model.width={settings.width}: scatter has as many orientations, which come in "
                "pairs at a right angle; expected an even number, as 4"
            )
        self.stride = 4 if settings.fine_map else 8
        self.wavelets = Wavelets(settings.width)
        offset, scale = public_scale(in_channels, settings.width)
        self.offset = nn.Parameter(offset[:, None, None].clone(), requires_grad=False)
        self.scale = nn.Parameter(scale[:, None, None].clone(), requires_grad=False)
        self.out_channels = len(offset)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, ``out_channels``, H/8, W/8), or H/4, W/4 for a fine map.

        Over random images each channel's mean has mean 0, and all of them together have norm 1: a
        gradient of the head is then about as long as the error of its forecast.
        """
        height, width = (max(1, side // self.stride) for side in images.shape[2:])
        pooled = [F.adaptive_avg_pool2d(one, (height, width)) for one in self.wavelets(images)]
        return (torch.cat(pooled, dim=1) - self.offset) / self.scale


@cache
def public_scale(in_channels: int, orientations: int) -> tuple[Tensor, Tensor]:
    """What standardises the maps, from random images: they are nobody's.

    Returns:
        Of each map's mean over an image, its mean, and its standard deviation times √maps; float32
        (maps,) each. They follow from the arguments alone.
    """
    generator = torch.Generator().manual_seed(0)
    images = (random_images(SAMPLE, in_channels, SAMPLE_SIZE, generator) - MEAN) / STD
    maps = Wavelets(orientations)(images)
    means = torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1)
    return means.mean(dim=0), means.std(dim=0) * math.sqrt(means.shape[1])
