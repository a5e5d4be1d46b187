"""The classifiers by name, and what they share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from common.config import Experiment
from common.registry import Registry

ModelFactory = Callable[[int, int, int], nn.Module]
"""(input channels, classes, width) to a module that maps (B, C, H, W) to logits (B, K)."""

MODELS: Registry[ModelFactory] = Registry("model.name")


def build_model(experiment: Experiment, seed: int = 0) -> nn.Module:
    """Build the experiment's classifier on the CPU.

    Args:
        experiment: gives name, width, channels and classes.
        seed: initialises the weights, without touching the global generator's state.

    Raises:
        SettingsError: for an unknown name, listing what exists.
    """
    settings = experiment.model
    factory = MODELS.get(settings.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory(experiment.data.channels, len(experiment.classes), settings.width)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (Wu and He 2018) of at most eight groups: no statistics across images."""
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)
