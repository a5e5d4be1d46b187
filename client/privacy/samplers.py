"""Each image's gradient of a layer, in closed form, where Opacus has none or a slow one.

Opacus's hooks ask a layer's sampler for the gradients of every image at once. Importing this module
registers ours beside Opacus's own.
"""

from __future__ import annotations

import torch
from opacus.grad_sample import register_grad_sampler
from opacus.grad_sample.conv import compute_conv_grad_sample
from opacus.utils.tensor_utils import unfold2d
from torch import Tensor, nn

from common.models.batch_norm import Affine
from common.models.wsnet import WSConv2d

Gradients = dict[Tensor, Tensor]
"""For each parameter of a layer, (B, *shape)."""


@register_grad_sampler(nn.Conv2d)  # type: ignore[untyped-decorator]  # opacus has no types
def convolution(layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """A convolution's, whatever the images' layout in memory.

    Opacus's own reads images as if their channels came first: where they come last, it takes one
    image's pixels for another's. And of groups it computes those of all pairs first: in a
    depthwise convolution that is as many times too much as there are channels.

    Args:
        layer: the convolution, of G groups.
        activations: its input, float32 (B, G i, H, W), in a list of one.
        backprops: gradient of the loss with respect to its output, float32 (B, G o, h, w).
    """
    images = activations[0].to(backprops.dtype).contiguous()
    if layer.groups == 1 or not len(images):
        found: Gradients = compute_conv_grad_sample(layer, [images], backprops)
        return found
    patches = _patches(layer, images)
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
    patches = _patches(layer, activations[0].to(backprops.dtype).contiguous())
    filters, inverse = (value.detach() for value in layer.standardised())
    gradient = torch.bmm(layer.scale * backprops, patches.transpose(1, 2)).to(filters.dtype)
    along = torch.einsum("bof,of->bo", gradient, filters)  # of gradient (B, after, fan_in)
    gradient -= gradient.mean(dim=2, keepdim=True)  # in place: these are the largest tensors
    gradient.addcmul_(along[..., None], filters, value=-1)
    gradient *= layer.gain.detach()[:, None] * inverse
    return {
        layer.weight: gradient.view(-1, *layer.weight.shape),
        layer.gain: along,
        layer.shift: backprops.sum(dim=2),
    }


@register_grad_sampler(Affine)  # type: ignore[untyped-decorator]
def scaled(layer: Affine, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """A folded BatchNorm's, of weight and bias, (B, C).

    Args:
        layer: scales and shifts each channel.
        activations: its input, float32 (B, C, H, W), in a list of one.
        backprops: gradient of the loss with respect to its output, float32 (B, C, H, W).
    """
    return {
        layer.weight: (backprops * activations[0]).sum(dim=(2, 3)),
        layer.bias: backprops.sum(dim=(2, 3)),
    }


def _patches(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """What each place of the filter sees, (B, channels × kernel, h w); images contiguous."""
    patches: Tensor = unfold2d(
        images,
        kernel_size=layer.kernel_size,
        padding=layer.padding,
        stride=layer.stride,
        dilation=layer.dilation,
    )
    return patches
