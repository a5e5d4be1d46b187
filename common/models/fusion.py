"""Late fusion: what metadata say is added to what the image says, logit by logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.data.metadata import Encodings, encode, encoded_width

HIDDEN = 16


class Fusion(nn.Module):
    """Encoded metadata to logits: one hidden layer.

    Args:
        encodings: what the model takes; see ``common/data/metadata.py``.
        num_classes: K.
    """

    missing: Tensor

    def __init__(self, encodings: Encodings, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(encoded_width(encodings), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_classes)
        )
        nothing = torch.from_numpy(encode({}, encodings, 1))  # (1, M)
        self.register_buffer("missing", nothing, persistent=False)

    def forward(self, metadata: Tensor | None, count: int) -> Tensor:
        """(B, M) to logits (B, K); without metadata, ``count`` rows of which all is missing."""
        rows = self.missing.expand(count, -1) if metadata is None else metadata
        logits: Tensor = self.layers(rows)
        return logits
