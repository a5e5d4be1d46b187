"""The settings of a classifier: its architecture, which all share, and what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Norm = Literal["group", "folded"]
Trainable = Literal["all", "head"]


@dataclass(frozen=True)
class MetadataEncoding:
    """How a column of metadata becomes numbers, by public constants: ``data/metadata.py``."""

    values: tuple[str, ...] = ()
    """Of a category: all values that count; any other is missing."""
    mean: float | None = None
    """Of a number, with ``scale``: it becomes (x − mean) / scale."""
    scale: float | None = None


@dataclass(frozen=True)
class ModelSettings:
    """Which classifier: a backbone by name, and a head on its feature map."""

    name: str = "cnn"
    width: int = 16
    """Channels of its first convolution; the others follow."""
    stem: Literal["small", "imagenet"] = "small"
    """How a backbone begins: ``small`` keeps the size of small images, ``imagenet`` is the
    original's for 224 pixels, which halves it once or twice."""
    norm: Norm = "group"
    """What stands where the original has BatchNorm: ``group``, GroupNorm; or ``folded``, constants
    that became part of the weights, so that torchvision's weights mean what they meant."""
    head: Literal["linear", "evidence"] = "linear"
    """``linear`` on the mean of the feature map; ``evidence``: each logit is the mean of a map that
    explains it, and the backbone leaves out its last halving, so that the map is finer."""
    trainable: Trainable = "all"
    """``head``: the backbone stays as it was pretrained, and neither gets noise nor is sent up."""
    centred: bool = False
    """Whether the features' mean is measured, in the first step that the model is trained for, and
    subtracted; for a backbone that is not trained."""
    centre_norm: float = 2.0
    """L2 norm that each patient's features are clipped to in that step, under privacy."""
    metadata: Mapping[str, MetadataEncoding] = field(default_factory=dict)
    """Columns that are fused with the image, each with its encoding; a site gives those of them
    that stand in its ``data.metadata_columns``, and the rest are missing."""

    @property
    def fine_map(self) -> bool:
        return self.head == "evidence"


@dataclass(frozen=True)
class InitialModel(ModelSettings):
    """Whoever starts a run also says from which weights; sites are sent the weights alone."""

    pretrained: str | None = None
    """A model of this program (its folder, or its JSON), or torchvision's weights (``.pth``,
    ``.safetensors``); ``None``: random weights, from the seed."""
