"""Mixed precision: the forward and backward pass in bfloat16, on a GPU that is asked to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.config import Precision
from common.models import Inputs

DEVICES = ("cuda",)
"""Where bfloat16 is quicker; a processor without it computes in float32, whatever is asked."""


def logits_of(model: nn.Module, inputs: Inputs, precision: Precision) -> Tensor:
    """Call ``model`` in a precision that PyTorch's autocast chooses operation by operation.

    Parameters stay float32, and so does what comes of their gradients: the loss, the clip, the
    noise and the step. bfloat16 has the range of float32, so that no loss has to be scaled.

    Returns:
        Logits (B, K), in the parameters' own precision.
    """
    device = inputs[0].device.type
    lower = precision == "bfloat16" and device in DEVICES
    with torch.autocast(device, torch.bfloat16, enabled=lower):
        logits: Tensor = model(*inputs)
    return logits.float() if lower else logits
