"""WSNet: a residual CNN without normalisation, made for training under privacy.

After Brock, De and Smith 2021, "Characterizing signal propagation to close the performance gap in
unnormalized ResNets" (NF-ResNets): scaled weight standardisation keeps the signal's variance where
a norm layer would restore it. Under privacy this has two gains: no statistics of an image are in
the way of its own gradient, and nothing has to be kept between forward and backward but what the
convolutions keep anyway.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.model_settings import ModelSettings
from common.models.classifier import Backbone
from common.models.registry import MODELS, require_small_stem

GAMMA = math.sqrt(2 / (1 - 1 / math.pi))
"""1 / standard deviation of ReLU of a standard normal (Brock et al. 2021, section 4.1)."""
ALPHA = 0.5
"""How much of a block's branch is added: the variance grows by α² a block."""
EPSILON = 1e-6


@MODELS.register("wsnet")
class WSNet(Backbone):
    """A strided stem and five pre-activation residual blocks in three stages.

    Args:
        in_channels: 1 or 3.
        settings: ``width`` is that of the first stage; the others have 2 and 4 times as many.
    """

    def __init__(self, in_channels: int, settings: ModelSettings) -> None:
        super().__init__()
        require_small_stem(settings)
        width = settings.width
        self.stem = WSConv2d(in_channels, width, 3, stride=2)
        blocks: list[nn.Module] = []
        before, variance = width, 1.0
        for after, stride in [
            (width, 1),
            (2 * width, 2),
            (2 * width, 1),
            (4 * width, 1 if settings.fine_map else 2),
            (4 * width, 1),
        ]:
            blocks.append(Block(before, after, stride, scale=GAMMA / math.sqrt(variance)))
            # a projected shortcut has variance 1 again
            variance = (variance if before == after else 1.0) + ALPHA**2
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = before

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 width, H/8, W/8), or H/4, W/4 for a fine map."""
        return F.relu(self.blocks(self.stem(images)))


class WSConv2d(nn.Conv2d):
    """A convolution whose filters are standardised before each use (Brock et al. 2021, eq. 1).

    Each output channel's filter is centred, brought to norm 1 over its fan-in, and multiplied by a
    learnt gain: Ŵ = gain · scale · (W − mean W) / √(‖W − mean W‖² + ε). An input of variance 1
    then gives an output of about variance ``scale``²: a centred filter takes its mean out.

    Args:
        before: input channels.
        after: output channels.
        size: height and width of the filter; the image is padded by half of it.
        stride: of the filter.
        scale: a constant factor: what the activation before this convolution is to be multiplied
            by, folded into the filter.
    """

    def __init__(
        self, before: int, after: int, size: int, stride: int = 1, scale: float = 1.0
    ) -> None:
        super().__init__(before, after, size, stride=stride, padding=size // 2, bias=False)
        self.shift = nn.Parameter(torch.zeros(after))
        self.gain = nn.Parameter(torch.ones(after))
        self.scale = scale

    def standardised(self) -> tuple[Tensor, Tensor]:
        """Filters of norm 1, (after, fan_in), and the factor 1 / norm, (after, 1)."""
        centred = self.weight.flatten(1)
        centred = centred - centred.mean(dim=1, keepdim=True)
        inverse = torch.rsqrt(centred.square().sum(dim=1, keepdim=True) + EPSILON)
        return centred * inverse, inverse

    def forward(self, images: Tensor) -> Tensor:
        """(B, before, H, W) to (B, after, H / stride, W / stride)."""
        filters, _ = self.standardised()
        weight = (filters * (self.scale * self.gain)[:, None]).view_as(self.weight)
        return F.conv2d(images, weight, self.shift, self.stride, self.padding)


class Block(nn.Module):
    """x + α f(x / β) in pre-activation order; β is in the convolutions' ``scale``.

    Where the shape changes, the shortcut is the activation, averaged over 2×2 and projected.
    """

    def __init__(self, before: int, after: int, stride: int, scale: float) -> None:
        super().__init__()
        self.first = WSConv2d(before, after, 3, stride, scale)
        self.second = WSConv2d(after, after, 3, 1, GAMMA)
        self.shortcut: nn.Module | None = None
        if before != after:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), WSConv2d(before, after, 1, 1, scale)
            )

    def forward(self, images: Tensor) -> Tensor:
        active = F.relu(images)
        branch = self.second(F.relu(self.first(active)))
        kept = images if self.shortcut is None else self.shortcut(active)
        result: Tensor = kept + ALPHA * branch
        return result
