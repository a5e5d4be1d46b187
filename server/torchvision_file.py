"""torchvision's weights as a backbone's arrays, with every BatchNorm folded."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import CheckpointError, ModelError, SettingsError
from common.model_settings import ModelSettings
from common.models.batch_norm import fold_batch_norms
from common.parameters import Arrays, check_arrays


@dataclass(frozen=True)
class Original:
    """A network of torchvision's: what makes it, its last layer, and the width of its stem."""

    function: str
    head: str
    width: int


ORIGINALS: Mapping[str, Original] = {
    "resnet18": Original("resnet18", "fc", 64),
    "densenet121": Original("densenet121", "classifier", 64),
    "mobilenet": Original("mobilenet_v3_small", "classifier", 16),
}

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Published weights of DenseNet are older than its names: ``norm.1`` is ``norm1`` now."""
COUNTERS = "num_batches_tracked"
"""What BatchNorm counts and, in evaluation, never reads; older files lack it."""

UNREADABLE = (
    SafetensorError, pickle.UnpicklingError, struct.error,
    AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What the two loaders raise where bytes are none of theirs."""


def torchvision_arrays(path: Path, settings: ModelSettings, names: Sequence[str]) -> Arrays:
    """Read a ``state_dict`` and fold its BatchNorms.

    Args:
        path: ``.pth`` or ``.pt``, read by PyTorch's loader of weights alone, or ``.safetensors``.
        settings: the architecture, which must be the original's.
        names: those of our backbone, whose layers stand in the original's order.

    Returns:
        The backbone's arrays. The last layer, whose classes are others, is left out.

    Raises:
        SettingsError: where the architecture is another.
        CheckpointError: where the file cannot be read, or holds other arrays.
    """
    original = _original(path, settings)
    state = {
        OLD_DENSENET.sub(r"\1\2", name): value
        for name, value in _read(path).items()
        if not name.startswith(f"{original.head}.") and not name.endswith(COUNTERS)
    }
    network = _network(original)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith(COUNTERS)}
    try:
        check_arrays(_numpy(state), _numpy(expected))
    except ModelError as error:
        raise CheckpointError(
            f"{path}: expected a state_dict of torchvision's {original.function}: {error}"
        ) from error
    network.load_state_dict(state, strict=False)
    fold_batch_norms(network)
    return dict(zip(names, _numpy(network.state_dict()).values(), strict=True))


def _original(path: Path, settings: ModelSettings) -> Original:
    if settings.name not in ORIGINALS:
        raise SettingsError(
            f"model.pretrained={path}: torchvision has no {settings.name}; expected one of "
            f"{', '.join(ORIGINALS)}, or the folder of a model that fedrounds trained"
        )
    original = ORIGINALS[settings.name]
    needed = {"norm": "folded", "stem": "imagenet", "width": original.width}
    problems = [
        f"model.pretrained={path}: torchvision's {original.function} needs model.{key}={value}, "
        f"and model.{key}={getattr(settings, key)} was asked for"
        for key, value in needed.items()
        if getattr(settings, key) != value
    ]
    if problems:
        raise SettingsError(problems)
    return original


def _network(original: Original) -> nn.Module:
    """torchvision's network without its last layer; the random weights draw from nobody's seed."""
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        network: nn.Module = getattr(models, original.function)(weights=None)
    setattr(network, original.head, nn.Identity())
    return network


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: expected tensors and nothing else, as torch.save(network.state_dict(), …) "
            "writes them"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path}: expected a state_dict, which is tensors by name, got {type(state).__name__}"
        )
    return state


def _numpy(state: Mapping[str, Tensor]) -> Arrays:
    return {name: value.detach().float().numpy() for name, value in state.items()}
