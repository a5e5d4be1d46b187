"""One loss an image, so that plain and private training use the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits float32 (B, K) and labels float32 (B, K), NaN where unknown, to a loss an image, (B,)."""


def loss_per_image(logits: Tensor, labels: Tensor, multi_label: bool) -> Tensor:
    """Cross entropy, or for several labels the mean binary cross entropy over the known ones.

    Args:
        logits: float32 (B, K).
        labels: float32 (B, K) of 0 and 1, NaN where unknown (multi-label only).
        multi_label: which of the two.

    Returns:
        float32 (B,). The mean is within the image, so no image's loss depends on another's.
    """
    if not multi_label:
        return F.cross_entropy(logits, labels.argmax(dim=1), reduction="none")
    known = ~labels.isnan()
    target = torch.where(known, labels, 0.0)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
    return each.sum(dim=1) / known.sum(dim=1).clamp(min=1)
