"""Name to model; a name is registered once, and a miss lists what exists."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from common.config import Experiment
from common.errors import ModelError
from common.schema import suggest

ModelFactory = Callable[[int, int, int], nn.Module]
"""(input channels, classes, width) to a module that maps (B, C, H, W) to logits (B, K)."""

_FACTORIES: dict[str, ModelFactory] = {}


def register(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator that makes a model known under ``name``."""

    def decorate(cls: type[nn.Module]) -> type[nn.Module]:
        if name in _FACTORIES:
            raise ModelError(f"two models are called '{name}'")
        _FACTORIES[name] = cls
        return cls

    return decorate


def model_names() -> list[str]:
    return sorted(_FACTORIES)


def build_model(experiment: Experiment, seed: int | None = None) -> nn.Module:
    """Build the experiment's classifier on the CPU.

    Args:
        experiment: gives name, width, channels and classes.
        seed: initialises the weights, without touching the global generator's state; ``None``
            where weights are loaded afterwards.

    Raises:
        ModelError: for an unknown name, listing what exists.
    """
    settings = experiment.model
    if settings.name not in _FACTORIES:
        raise ModelError(
            f"model.name={settings.name}: unknown model{suggest(settings.name, _FACTORIES)}"
        )
    factory = _FACTORIES[settings.name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0 if seed is None else seed)
        return factory(experiment.data.channels, len(experiment.classes), settings.width)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (Wu and He 2018) of at most eight groups: no statistics across images."""
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)
