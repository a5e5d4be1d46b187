"""A head that explains itself: each logit is the mean of a map of evidence.

A 1×1 convolution turns the feature map into one map of evidence a class, and the logit is its
mean. So the map is not an explanation found afterwards: it is what was added up. By linearity it
is the class activation map (Zhou et al. 2016, eq. 2) of a linear head, bias included; what differs
is that the backbone leaves out its last halving, so that the map is finer, and that the map is
part of what is trained, tested and exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.errors import ModelError
from common.models.classifier import Classifier


class EvidenceClassifier(Classifier):
    """A backbone and a head of evidence; arguments as for :class:`Classifier`."""

    def make_head(self, channels: int, num_classes: int) -> nn.Module:
        return nn.Conv2d(channels, num_classes, kernel_size=1)

    def evidence(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Maps (B, K, h, w) in logits; what metadata say is the same at every place."""
        maps: Tensor = self.head(self.features(images))
        if self.fusion is None:
            return maps
        said: Tensor = self.fusion(metadata, len(images))
        return maps + said[:, :, None, None]

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """As :meth:`Classifier.forward`: the means of the maps, (B, K)."""
        return self.evidence(images, metadata).mean(dim=(2, 3))


def evidence_map(model: nn.Module, images: Tensor, metadata: Tensor | None = None) -> Tensor:
    """What each place of an image says for each class: positive speaks for it.

    Args:
        model: a classifier with ``model.head=evidence``, in evaluation mode.
        images: normalised, float32 (B, C, H, W).
        metadata: as the model is called with.

    Returns:
        float32 (B, K, h, w) without gradient; its mean over h and w is the logit.

    Raises:
        ModelError: where the model has another head.
    """
    if not isinstance(model, EvidenceClassifier):
        raise ModelError("expected a model trained with model.head=evidence, got another head")
    with torch.no_grad():
        return model.evidence(images, metadata)
