"""Each image's gradient of a layer, in closed form, where Opacus has none or a slow one.

Opacus's hooks ask a layer's sampler for the gradients of every image at once. Importing this module
registers ours beside Opacus's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from opacus.grad_sample import register_grad_sampler
from opacus.grad_sample.conv import compute_conv_grad_sample
from torch import Tensor, nn

from common.models.wsnet import WSConv2d

Gradients = dict[Tensor, Tensor]
"""For each parameter of a layer, (B, *shape)."""


@register_grad_sampler(nn.Conv2d)  # type: ignore[untyped-decorator]  # opacus has no types
def convolution(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """A convolution's, where it has groups; Opacus computes those of all pairs of groups first.

    In a depthwise convolution that is as many times too much as there are channels.

    Args:
        layer: the convolution, of G groups.
        activations: its input, float32 (B, G i, H, W), in a list of one.
        backprops: gradient of the loss with respect to its output, float32 (B, G o, h, w).
    """
    images = activations[0].to(backprops.dtype)
    if layer.groups == 1 or not len(images) or isinstance(layer.padding, str):
        found: Gradients = compute_conv_grad_sample(layer, activations, backprops)
        return found
    patches = F.unfold(images, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    patches = patches.view(len(images) * layer.groups, -1, patches.shape[2])  # (B G, i k, h w)
    backprops = backprops.flatten(2)  # (B, G o, h w)
    by_group = backprops.reshape(len(patches), -1, patches.shape[2])  # (B G, o, h w)
    gradient = torch.bmm(by_group, patches.transpose(1, 2))  # (B G, o, i k)
    gradients: Gradients = {layer.weight: gradient.view(-1, *layer.weight.shape)}
    if layer.bias is not None:
        gradients[layer.bias] = backprops.sum(dim=2)
    return gradients


@register_grad_sampler(WSConv2d)  # type: ignore[untyped-decorator]
def standardised(layer: WSConv2d, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """A weight-standardised convolution's, of weight, gain and shift.

    With n the filter of norm 1, r = 1 / norm and g the gradient of an image with respect to Ŵ (as
    for any convolution), that of the gain is scale · ⟨g, n⟩, and that of W is
    gain · scale · r · (g − mean g − n ⟨g, n⟩): standardising is linear in g, and the same for all.

    Args:
        layer: the convolution.
        activations: its input, float32 (B, before, H, W), in a list of one.
        backprops: gradient of the loss with respect to its output, float32 (B, after, h, w).
    """
    backprops = backprops.flatten(2)  # (B, after, h w)
    size, images = layer.kernel_size, activations[0].to(backprops.dtype)
    patches = F.unfold(images, size, padding=size[0] // 2, stride=layer.stride)  # (B, fan_in, h w)
    filters, inverse = (value.detach() for value in layer.standardised())
    gradient = torch.bmm(layer.scale * backprops, patches.transpose(1, 2))  # (B, after, fan_in)
    along = torch.einsum("bof,of->bo", gradient, filters)
    gradient -= gradient.mean(dim=2, keepdim=True)  # in place: these are the largest tensors
    gradient.addcmul_(along[..., None], filters, value=-1)
    gradient *= layer.gain.detach()[:, None] * inverse
    return {
        layer.weight: gradient.view(-1, *layer.weight.shape),
        layer.gain: along,
        layer.shift: backprops.sum(dim=2),
    }
