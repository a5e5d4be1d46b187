"""The weights that a run starts from: random, or out of a file of the coordinator's.

The file is read once, before round 1. Its path is the coordinator's own, and no part of the shared
experiment: sites are sent the weights, as in any round, and a run that goes on has them in its
checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.config import Experiment
from common.errors import CheckpointError, ModelError, SettingsError
from common.model_file import ModelFile, read_model_file
from common.models import build_model
from common.parameters import Arrays, arrays_of, check_arrays
from server.torchvision_file import torchvision_arrays

BACKBONE = "backbone."
TORCHVISION = (".pth", ".pt", ".safetensors")
ARCHITECTURE = ("name", "width", "stem", "norm")
"""Which of a model's settings its backbone's arrays follow from, with the channels."""


def initial_arrays(experiment: Experiment, pretrained: str | None) -> Arrays:
    """The model before round 1.

    Args:
        experiment: gives the architecture, and the seed of what no file gives.
        pretrained: a model of this program (a folder with ``model.json``, or such a JSON), or a
            ``state_dict`` of torchvision's.

    Raises:
        SettingsError: where the file is of another architecture, naming both.
        CheckpointError: where it cannot be read, or holds other arrays.
    """
    arrays = arrays_of(build_model(experiment, seed=experiment.seed))
    if pretrained is None:
        return arrays
    path = Path(pretrained)
    backbone = [name for name in arrays if name.startswith(BACKBONE)]
    if path.suffix in TORCHVISION:
        found = torchvision_arrays(path, experiment.model, backbone)
    else:
        found = _own_arrays(path, experiment)
    try:
        check_arrays({**arrays, **found}, arrays)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return {**arrays, **found}


def _own_arrays(path: Path, experiment: Experiment) -> Arrays:
    """The backbone of a model of this program, and its head where that means the same."""
    file, model = read_model_file(path)
    here, wanted = file.model, experiment.model
    problems = [
        f"model.pretrained={path}: it has model.{key}={getattr(here, key)}, and model.{key}="
        f"{getattr(wanted, key)} was asked for: take either for both"
        for key in ARCHITECTURE
        if getattr(here, key) != getattr(wanted, key)
    ]
    channels = experiment.data.channels
    if here.name == "scatter" and file.channels != channels:
        problems.append(
            f"model.pretrained={path}: it was trained with data.channels={file.channels}, and "
            f"{channels} was asked for: scattering has other features of colour than of grey, so "
            "take either for both"
        )
    if problems:
        raise SettingsError(problems)
    arrays = arrays_of(model)
    if not _same_head(file, experiment):
        arrays = {name: value for name, value in arrays.items() if name.startswith(BACKBONE)}
    if wanted.norm != "folded" and file.channels != channels:
        # what is folded takes three channels, whatever the images have
        arrays = to_channels(arrays, channels)
    return arrays


def _same_head(file: ModelFile, experiment: Experiment) -> bool:
    """Whether each of the file's logits is a logit here."""
    here, wanted = file.model, experiment.model
    return (file.classes, bool(file.multi_label), here.head, here.metadata, here.centred) == (
        experiment.classes,
        experiment.multi_label,
        wanted.head,
        wanted.metadata,
        wanted.centred,
    )


def to_channels(arrays: Mapping[str, NDArray[np.float32]], channels: int) -> Arrays:
    """Make a backbone that takes grey images take colour, or the reverse.

    Exact for a grey image, alone or as three equal colours, since all channels are normalised
    alike: colours are summed, or grey is spread over three of a third each. wsnet's first filters
    are standardised at each use (``common/models/wsnet.py``), so there the gain takes the change of
    their norm.

    Args:
        arrays: the first convolution's weight (O, C, h, w) comes first among those of the backbone.
        channels: 1 or 3.
    """
    name = next(name for name in arrays if name.startswith(BACKBONE))
    weight = arrays[name]
    if weight.shape[1] == channels:
        return dict(arrays)
    changed = {name: _mixed(weight, channels)}
    gain = name.removesuffix("weight") + "gain"
    if gain in arrays:
        centred = weight - weight.mean(axis=(1, 2, 3), keepdims=True)
        norms = [_norms(each) for each in (_mixed(centred, channels), centred)]
        changed[gain] = arrays[gain] * norms[0] / norms[1]
    return {**arrays, **changed}


def _mixed(weight: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    mixed: NDArray[np.float32] = (
        weight.sum(axis=1, keepdims=True) if channels == 1 else np.repeat(weight / 3, 3, axis=1)
    )
    return mixed


def _norms(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each filter, (O,)."""
    norms: NDArray[np.float32] = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    return norms
