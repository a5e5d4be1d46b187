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
from common.models.classifier import Backbone, Classifier


class EvidenceClassifier(Classifier):
    """A backbone and a head of evidence; arguments as for :class:`Classifier`."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__(backbone, num_classes)
        self.head = nn.Conv2d(backbone.out_channels, num_classes, kernel_size=1)

    def evidence(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to maps (B, K, h, w), in logits: positive speaks for the class."""
        maps: Tensor = self.head(self.backbone(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, K): the means of the maps."""
        return self.evidence(images).mean(dim=(2, 3))


def evidence_map(model: nn.Module, images: Tensor) -> Tensor:
    """What each place of an image says for each class.

    Args:
        model: a classifier with ``model.head=evidence``, in evaluation mode.
        images: normalised, float32 (B, C, H, W).

    Returns:
        float32 (B, K, h, w) without gradient; its mean over h and w is the logit.

    Raises:
        ModelError: where the model has another head.
    """
    if not isinstance(model, EvidenceClassifier):
        raise ModelError("expected a model trained with model.head=evidence, got another head")
    with torch.no_grad():
        return model.evidence(images)
