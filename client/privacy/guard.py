"""DP fails closed: modules that would leak around the noise are refused by name."""

from __future__ import annotations

import torch
from torch import nn

from common.errors import PrivacyError


def refuse_leaking_modules(model: nn.Module, channels: int, image_size: int) -> None:
    """Refuse a module whose buffers change in train mode, or that normalises across images.

    Running statistics (BatchNorm, frozen or not, InstanceNorm with running stats) follow the data
    without clip or noise, and pass Opacus's own validator.

    Args:
        model: the model about to be trained; its parameters are not touched.
        channels: input channels.
        image_size: height and width.

    Raises:
        PrivacyError: naming every such module.
    """
    before = {name: value.clone() for name, value in model.named_buffers()}
    was_training = model.training
    model.train()
    with torch.no_grad():
        model(torch.linspace(-1, 1, 2 * channels * image_size**2).view(2, channels, image_size, -1))
    model.train(was_training)
    changed = [n for n, value in model.named_buffers() if not torch.equal(value, before[n])]
    batch_norms = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    if changed or batch_norms:
        raise PrivacyError(
            "these modules follow the data without clip or noise: "
            f"{', '.join(sorted({*changed, *batch_norms}))}; use GroupNorm instead"
        )
