"""Images of nothing: blobs, clouds, stripes and grain, drawn at random.

What is learnt or measured on them is a prior that no patient's image was needed for, and so costs
no privacy. After Baradad et al. 2021, "Learning to See by Looking at Noise", whose best processes
are, as here, those that mix shapes with fields of a power-law spectrum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOBS = 3
"""At most so many an image; the first is almost always there."""


def random_images(number: int, channels: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw images.

    Args:
        number: B.
        channels: 1 or 3; of three, two images in five are grey all the same.
        size: height and width in pixels.
        generator: on the CPU; what everything follows from.

    Returns:
        float32 (B, channels, size, size) in 0 to 1.
    """
    draw = _Draw(number, size, generator)
    image = draw.colour() + draw.uniform(0, 0.15) * draw.texture()
    for blob in range(BLOBS):
        there = draw.chance(0.9 if blob == 0 else 0.5)
        cover = there * draw.uniform(0.3, 1) * draw.blob()
        image = torch.lerp(image, draw.colour() + draw.uniform(0, 0.2) * draw.texture(), cover)
    image = image + draw.chance(0.4) * draw.uniform(0.02, 0.2) * draw.stripes()
    image = image + draw.uniform(0, 0.06) * draw.normal(3)
    grey = image.mean(dim=1, keepdim=True)
    if channels == 1:
        return _developed(grey, draw)
    return _developed(torch.lerp(image, grey.expand_as(image), draw.chance(0.4)), draw)


def _developed(image: Tensor, draw: _Draw) -> Tensor:
    """In 0 to 1: the contrast stretched, in part or wholly, and what is beyond cut off."""
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    stretched = (image - low) / (high - low + 1e-6)
    return torch.lerp(image.clamp(0, 1), stretched, draw.uniform(0, 1)).clamp(0, 1)


class _Draw:
    """Draws of one batch, each (B, 1 or 3, 1 or H, 1 or W)."""

    def __init__(self, number: int, size: int, generator: torch.Generator) -> None:
        self.number, self.size, self.generator = number, size, generator
        line = torch.linspace(-1, 1, size)
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")

    def uniform(self, low: float, high: float) -> Tensor:
        drawn = torch.rand((self.number, 1, 1, 1), generator=self.generator)
        return low + (high - low) * drawn

    def log_uniform(self, low: float, high: float) -> Tensor:
        return torch.exp(self.uniform(math.log(low), math.log(high)))

    def chance(self, share: float) -> Tensor:
        """1 for a share of the images, 0 for the others."""
        return (self.uniform(0, 1) < share).float()

    def colour(self) -> Tensor:
        return torch.rand((self.number, 3, 1, 1), generator=self.generator)

    def normal(self, channels: int) -> Tensor:
        shape = (self.number, channels, self.size, self.size)
        return torch.randn(shape, generator=self.generator)

    def field(self, channels: int, low: float, high: float) -> Tensor:
        """Of mean 0 and variance 1; its amplitude falls as frequency^-α, α between the two."""
        rows, columns = torch.fft.fftfreq(self.size), torch.fft.rfftfreq(self.size)
        frequency = torch.hypot(rows[:, None], columns[None])
        frequency[0, 0] = torch.inf  # no constant part
        amplitude = torch.pow(frequency, -self.uniform(low, high))
        spectrum = torch.fft.rfft2(self.normal(channels)) * amplitude
        field: Tensor = torch.fft.irfft2(spectrum, s=(self.size, self.size))
        return field / (field.std(dim=(2, 3), keepdim=True) + 1e-6)

    def texture(self) -> Tensor:
        """A field whose colours go together more or less."""
        field = self.field(3, 0.3, 2.2)
        return torch.lerp(field, field[:, :1].expand_as(field), self.uniform(0, 1))

    def blob(self) -> Tensor:
        """An ellipse anywhere, of any size, with an irregular edge, sharp or soft."""
        along, across = self._turned(
            self.x - self.uniform(-0.6, 0.6), self.y - self.uniform(-0.6, 0.6)
        )
        long = torch.exp(self.uniform(-0.5, 0.5))
        radius = torch.hypot(along / long, across * long) / self.log_uniform(0.08, 0.8)
        radius = radius + self.uniform(0, 0.35) * self.field(1, 1.2, 2.5)
        return torch.sigmoid((1 - radius) / self.log_uniform(0.03, 0.5))

    def stripes(self) -> Tensor:
        """Waves, more or less bent, that add to some colours and take from others."""
        along, _ = self._turned(self.x, self.y)
        phase = self.uniform(0, 2 * math.pi) + self.uniform(0, 1.5) * self.field(1, 1.5, 2.5)
        sign = torch.where(self.colour() < 0.5, -1.0, 1.0)
        return sign * torch.sin(self.log_uniform(3, 25) * along + phase)

    def _turned(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        angle = self.uniform(0, math.pi)
        return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
