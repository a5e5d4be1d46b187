"""Which of a model's arrays belong to its normalisation."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

NORMALISATION = (nn.GroupNorm, nn.LayerNorm, _NormBase)
"""PyTorch's modules with arrays of their own; ``_NormBase`` is every Batch- and InstanceNorm."""


def normalisation_names(model: nn.Module) -> frozenset[str]:
    """Names, as in ``state_dict``, of the parameters and buffers of all normalising modules."""
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, NORMALISATION)
        for name in module.state_dict()
    )
