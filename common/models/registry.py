"""The classifiers by name, and what they share."""

from __future__ import annotations

from collections.abc import Callable

import torch

from common.config import Experiment
from common.errors import SettingsError
from common.model_settings import ModelSettings
from common.models.batch_norm import ImageNetInput
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
        SettingsError: for an unknown name, listing what exists, a stem or norm that it does not
            have, or a centre of features that training moves.
    """
    settings = experiment.model
    factory = MODELS.get(settings.name)
    head = EvidenceClassifier if settings.head == "evidence" else Classifier
    folded = settings.norm == "folded"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = factory(3 if folded else experiment.data.channels, settings)
        prepare = ImageNetInput() if folded else None
        model = head(
            backbone, len(experiment.classes), settings.metadata, prepare, settings.centred
        )
    if settings.trainable == "head":
        model.backbone.requires_grad_(False)
    if settings.centred and any(p.requires_grad for p in model.backbone.parameters()):
        raise SettingsError(
            "model.centred=true: the features of a backbone that is trained do not stay where "
            "their mean was measured; use model.trainable=head with model.pretrained, or "
            "model=scatter"
        )
    return model


def require_small_stem(settings: ModelSettings) -> None:
    """For a backbone of our own: it has one stem, and no BatchNorm that could be folded.

    Raises:
        SettingsError: where something else is asked for.
    """
    others = "resnet18, densenet121 or mobilenet"
    problems = []
    if settings.stem != "small":
        problems.append(
            f"model.stem={settings.stem}: {settings.name} has only the stem for small images; "
            f"use model.stem=small, or {others}"
        )
    if settings.norm == "folded":
        problems.append(
            f"model.norm=folded: {settings.name} never had a BatchNorm; use model.norm=group, or "
            f"{others}"
        )
    if problems:
        raise SettingsError(problems)
