"""Scattering: wavelets that nobody's images were needed for, and only a head to learn.

Under privacy every weight that is trained is trained with noise, and a few hundred patients cannot
teach a network through it. Tramèr and Boneh 2021, "Differentially Private Learning Needs Better
Features (or Much More Data)", put a linear head on the scattering transform (Bruna and Mallat 2013)
and beat networks that were trained whole. Nothing here is trained or fitted on patients.

    level 0     colour, as lightness and two opponent colours, and what is left of it at the end
    level 1     log |x ∗ ψ|: how much of each scale there is, summed over orientations
    level 2     log ||x ∗ ψ| ∗ ψ'|: how that changes over larger scales, by the angle between both;
                of lightness alone

Each of these maps is there twice: as it is, and as its distance from the image's own mean of it,
so that the mean over the image, which the head stands on, tells both level and spread. The sums
over orientations leave the features as they are where the image is mirrored or turned by 90°.
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
from common.models.registry import MODELS, only_as_drawn

SCALES = 4
"""Octaves."""
RADIUS, DEVIATION, FREQUENCY, SLANT = 3, 1.1, 1.9, 0.6
"""Of a wavelet: pixels each way, standard deviation in pixels, radians a pixel, and how much longer
it is along its wave crests (1 / slant)."""
FLOOR = 0.01
"""Added before the logarithm: what grain of one grey level gives is below it."""
TINY = 1e-6
"""The same before the root: steep at 0, it would make much of a runtime's rounding."""
BLUR = (1, 3, 3, 1)
"""Of an even length, so that a mirrored image is halved to the mirrored half."""
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1 / 2, -1 / 2, 0), (1 / 4, 1 / 4, -1 / 2))
"""Lightness, red against green, yellow against blue."""
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
        only_as_drawn(settings)
        if settings.width % 2:
            raise SettingsError(
                f"model.width={settings.width}: scatter has as many orientations, which come in "
                "pairs at a right angle; expected an even number, as 4"
            )
        self.stride = 4 if settings.fine_map else 8
        self.wavelets = Wavelets(settings.width)
        centre, scale = public_scale(in_channels, settings.width)
        self.centre = nn.Parameter(centre[:, None, None].clone(), requires_grad=False)
        self.scale = nn.Parameter(scale[:, None, None].clone(), requires_grad=False)
        self.out_channels = len(centre)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, ``out_channels``, H/8, W/8), or H/4, W/4 for a fine map.

        Over random images each channel's mean has mean 0, and all of them together have norm 1: a
        gradient of the head is then about as long as the error of its forecast.
        """
        height, width = (max(1, side // self.stride) for side in images.shape[2:])
        pooled = [F.adaptive_avg_pool2d(one, (height, width)) for one in self.wavelets(images)]
        return (torch.cat(pooled, dim=1) - self.centre) / self.scale


@cache
def public_scale(in_channels: int, orientations: int) -> tuple[Tensor, Tensor]:
    """Of each map's mean over random images: its mean, and its standard deviation times √maps.

    Returns:
        float32 (maps,) each; they follow from the arguments alone.
    """
    generator = torch.Generator().manual_seed(0)
    images = (random_images(SAMPLE, in_channels, SAMPLE_SIZE, generator) - MEAN) / STD
    maps = Wavelets(orientations)(images)
    means = torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1)
    return means.mean(dim=0), means.std(dim=0) * math.sqrt(means.shape[1])


class Wavelets(nn.Module):
    """The maps, each at its own scale.

    Args:
        orientations: of the wavelets; even.
    """

    filters: Tensor
    blur: Tensor
    opponent: Tensor

    def __init__(self, orientations: int) -> None:
        super().__init__()
        self.orientations = orientations
        blur = torch.tensor(BLUR, dtype=torch.float32) / sum(BLUR)
        self.register_buffer("filters", morlet(orientations), persistent=False)
        self.register_buffer("blur", torch.outer(blur, blur)[None, None], persistent=False)
        self.register_buffer("opponent", torch.tensor(OPPONENT), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) to maps (B, c, h, w), h and w by their scale."""
        if images.shape[1] == 3:
            images = torch.einsum("oc,bchw->bohw", self.opponent, images)
        maps = [images]
        for scale in range(SCALES):
            # JPEG halves colour differences as a rule: their finest scale is empty, and costs most
            first = self._modulus(images if scale else images[:, :1])
            maps.append(torch.log(first.mean(dim=2) + FLOOR))
            wave = first[:, 0]
            for _ in range(scale + 1, SCALES):
                wave = self._halved(wave)
                maps.append(torch.log(self._by_angle(self._modulus(wave)) + FLOOR))
            images = self._halved(images)
        maps.append(images)
        return [*maps, *((one - one.mean(dim=(2, 3), keepdim=True)).abs() for one in maps)]

    def _modulus(self, maps: Tensor) -> Tensor:
        """|x ∗ ψ| for every orientation: (B, c, h, w) to (B, c, orientations, h, w)."""
        batch, channels, height, width = maps.shape
        padded = F.pad(maps.reshape(-1, 1, height, width), [RADIUS] * 4, mode="replicate")
        real, imaginary = F.conv2d(padded, self.filters).chunk(2, dim=1)
        modulus = torch.sqrt(real.square() + imaginary.square() + TINY)
        return modulus.view(batch, channels, self.orientations, height, width)

    def _by_angle(self, second: Tensor) -> Tensor:
        """The mean over all pairs of orientations that have one angle between them.

        (B, orientations, orientations, h, w) to (B, angles, h, w).
        """
        count = self.orientations
        one = torch.arange(count)
        angles = [
            second[:, one, (one + angle) % count] + second[:, one, (one - angle) % count]
            for angle in range(count // 2 + 1)
        ]
        return torch.stack([pairs.mean(dim=1) / 2 for pairs in angles], dim=1)

    def _halved(self, maps: Tensor) -> Tensor:
        batch, channels, height, width = maps.shape
        padded = F.pad(maps.reshape(-1, 1, height, width), [1] * 4, mode="replicate")
        halved = F.conv2d(padded, self.blur, stride=2)
        return halved.view(batch, channels, *halved.shape[2:])


def morlet(orientations: int) -> Tensor:
    """Morlet wavelets (Bruna and Mallat 2013, section 2.1): waves under a Gaussian, of mean 0.

    Returns:
        float32 (2 · orientations, 1, 7, 7): the real parts, then the imaginary ones; a wavelet's
        response to an image in -1 to 1 is at most 1.
    """
    line = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    real, imaginary = [], []
    for number in range(orientations):
        angle = math.pi * number / orientations
        along = x * math.cos(angle) + y * math.sin(angle)
        across = (y * math.cos(angle) - x * math.sin(angle)) * SLANT
        window = torch.exp(-(along.square() + across.square()) / (2 * DEVIATION**2))
        even, odd = window * torch.cos(FREQUENCY * along), window * torch.sin(FREQUENCY * along)
        even = even - window * (even.sum() / window.sum())
        norm = torch.hypot(even.abs().sum(), odd.abs().sum())
        real.append(even / norm)
        imaginary.append(odd / norm)
    return torch.stack([*real, *imaginary])[:, None]
