"""The scattering transform of second order (Bruna and Mallat 2013): maps of what an image holds.

    level 0     colour, as lightness and two opponent colours, and what is left of it at the end
    level 1     log |x ∗ ψ|: how much of each scale there is, summed over orientations; at the
                finest scale of lightness alone
    level 2     log ||x ∗ ψ| ∗ ψ'|: how that changes over larger scales, by the angle between both;
                of lightness alone

Each of these maps is there twice: as it is, and as its distance from the image's own mean of it,
so that a map's mean over the image tells level and spread. The sums over orientations leave those
means as they are where the image is mirrored or turned by 90°.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        """(B, C, H, W) to maps (B, c, h, w), h and w by their scale.

        In order: the image (c = C); of each scale s, from the finest, level 1 (c = C, but 1 at the
        finest), and level 2 at each larger scale (c = orientations / 2 + 1); the image at the end
        (C); then the distances of all of them, in the same order.
        """
        if images.shape[1] == 3:
            images = torch.einsum("oc,bchw->bohw", self.opponent, images)
        maps, left = [images], images
        for scale in range(SCALES):
            # JPEG halves colour differences as a rule: their finest scale is empty, and costs most
            first = self._modulus(left if scale else left[:, :1])
            maps.append(torch.log(first.mean(dim=2) + FLOOR))
            lightness = first[:, 0]
            for _ in range(scale + 1, SCALES):
                lightness = self._halved(lightness)
                maps.append(torch.log(self._by_angle(self._modulus(lightness)) + FLOOR))
            left = self._halved(left)
        maps.append(left)
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
