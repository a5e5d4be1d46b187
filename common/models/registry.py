"""The classifiers by name, and what they share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from common.config import Experiment, ModelSettings
from common.errors import SettingsError
from common.models.classifier import Backbone, Classifier
from common.models.evidence import EvidenceClassifier
from common.registry import Registry

BackboneFactory = Callable[[int, ModelSettings], Backbone]
"""(input channels, settings) to what the head stands on."""

MODELS: Registry[BackboneFactory] = Registry("model.name")


def build_model(experiment: Experiment, seed: int = 0) -> Classifier:
    """Build the experiment's classifier on the CPU.

    Args:
        experiment: gives the model's settings, the channels and the classes.
        seed: initialises the weights, without touching the global generator's state.

    Raises:
        SettingsError: for an unknown name, listing what exists, or a stem that it does not have.
    """
    settings = experiment.model
    factory = MODELS.get(settings.name)
    head = EvidenceClassifier if settings.head == "evidence" else Classifier
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = factory(experiment.data.channels, settings)
        return head(backbone, len(experiment.classes), settings.metadata)


def only_small_stem(settings: ModelSettings) -> None:
    """For a backbone that has no other.

    Raises:
        SettingsError: where another is asked for.
    """
    if settings.stem != "small":
        raise SettingsError(
            f"model.stem={settings.stem}: {settings.name} has only the stem for small images; "
            "use model.stem=small, or resnet18, densenet121 or mobilenet"
        )


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm (Wu and He 2018) of at most eight groups: no statistics across images."""
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)
