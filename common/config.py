"""Every setting, typed and frozen; one YAML string is the whole shared experiment.

Two readers meet here. A *simulation* composes :class:`Settings` with Hydra. An *experiment*
(:class:`Experiment`) is the part that every hospital must agree on: it is resolved, written as
one YAML string, and sent to every site. What is a site's own (paths, column names, policy) never
enters it: see ``client/site.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import yaml

from common.errors import SettingsError
from common.schema import build, to_plain

Augmentation = Literal["none", "flip", "dihedral"]
PrivacyUnit = Literal["none", "patient", "image"]


@dataclass(frozen=True)
class TaskSettings:
    """What is learnt: shared by all sites."""

    classes: tuple[str, ...] | None = None
    """Public, ordered list of classes; ``None`` is for a simulation alone, which derives it."""
    negative_label: str | None = None
    """In a multi-label list, the label that means "none of them"."""
    multi_label: bool | None = None
    """Several labels an image; ``None`` means: yes where ``label_separator`` is set."""
    image_size: int = 64
    """Height and width that every image is resized to, in pixels."""
    channels: int = 1
    """1 (grey) or 3 (RGB)."""
    augmentation: Augmentation = "none"
    """``flip``: left-right. ``dihedral``: the eight symmetries of the square."""
    unit_name: str = "patient"
    """What the id column identifies; printed beside every ε."""
    test_fraction: float = 0.2
    validation_fraction: float = 0.1


@dataclass(frozen=True)
class SourceSettings:
    """Where a site's images are: the site's own, never sent."""

    root: str | None = None
    """Folder that holds the table and the images."""
    table: str = "metadata.csv"
    image_column: str | None = None
    """Column with a path under ``root``."""
    image_pattern: str | None = None
    """Path under ``root`` with columns in braces, as ``images/{image_id}.jpg``."""
    label_column: str = "label"
    label_separator: str | None = None
    patient_column: str | None = None
    site_column: str | None = None
    """Column that names a row's site, where one table serves several."""
    site_value: str | None = None
    """The rows of this site are those with this value in ``site_column``."""
    metadata_columns: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    """The site's own label to the shared class."""
    exclude: tuple[str, ...] = ()
    """Images left out, by their path under ``root``; fixed before the first training."""
    split_key: str = "fedrounds"
    """Key of the hash that places each patient in train, validation or test."""


@dataclass(frozen=True)
class DataSettings(SourceSettings, TaskSettings):
    """A simulation knows both halves: it writes the site's half into each ``site.yaml``."""

    layout: Literal["table", "phantom"] = "table"


@dataclass(frozen=True)
class ModelSettings:
    """Which classifier; ``width`` is the number of channels of its first convolution."""

    name: str = "cnn"
    width: int = 16


@dataclass(frozen=True)
class StrategySettings:
    """Local optimisation (FedOpt's ClientOpt) and aggregation."""

    name: str = "fedavg"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    """Of the learning rate over the run's ``rounds × local_steps`` steps."""
    momentum: float = 0.9
    """Of SGD; AdamW has its usual betas."""
    weight_decay: float = 0.01
    batch_size: int = 64
    """Images a step; under privacy the expected number of patients a step."""


@dataclass(frozen=True)
class PrivacyTarget:
    """What each site is asked to keep, from public constants alone."""

    unit: PrivacyUnit = "patient"
    epsilon: float | None = None
    """Budget of this run; σ is planned for it unless ``noise_multiplier`` is given."""
    delta: float | None = None
    noise_multiplier: float | None = None
    """σ: the noise's standard deviation is σ × ``max_grad_norm``."""
    max_grad_norm: float = 1.0
    """C: the L2 norm that one unit's gradient is clipped to."""
    sample_rate: float | None = None
    """q; ``None`` means ``batch_size`` / the site's public count."""
    accountant: Literal["prv", "rdp"] = "prv"

    @property
    def enabled(self) -> bool:
        return self.unit != "none"


@dataclass(frozen=True)
class PrivacySettings(PrivacyTarget):
    """A simulation also plays the sites, so it holds the counts that they would declare."""

    public_patients: int | Mapping[str, int] | None = None
    """Public count of each site's training patients: one number, or one a site."""


@dataclass(frozen=True)
class EngineSettings:
    """How a simulation runs its sites."""

    name: Literal["inprocess", "ray"] = "inprocess"
    workers: int | None = None
    """Sites trained at once; ``None`` means as many as cores and sites allow."""
    gpus_per_site: float = 0.0
    """Share of a GPU that Ray gives each site."""


@dataclass(frozen=True)
class Experiment:
    """The shared experiment: the same text at the server and at every site."""

    name: str
    seed: int
    rounds: int
    local_steps: int
    threads: int
    data: TaskSettings
    model: ModelSettings
    strategy: StrategySettings
    privacy: PrivacyTarget

    @property
    def classes(self) -> tuple[str, ...]:
        """The ordered classes (they are always set in an experiment that was checked)."""
        if self.data.classes is None:
            raise SettingsError("data.classes: the shared experiment needs its list of classes")
        return self.data.classes

    @property
    def multi_label(self) -> bool:
        return bool(self.data.multi_label)

    @property
    def total_steps(self) -> int:
        return self.rounds * self.local_steps

    def to_yaml(self) -> str:
        """The one string that is the whole experiment."""
        return yaml.safe_dump(to_plain(self), sort_keys=False)

    def digest(self) -> str:
        """SHA-256 of :meth:`to_yaml`, in hexadecimal."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()

    @staticmethod
    def from_yaml(text: str) -> Experiment:
        """Parse what a server sent: safe YAML, checked, nothing interpolated.

        Raises:
            SettingsError: on text that is not YAML, on ``${…}``, on any unknown or wrong setting.
        """
        if "${" in text:
            raise SettingsError("the experiment holds '${': a site interpolates nothing")
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError("the experiment is not a YAML text") from error
        experiment = build(Experiment, values)
        problems = check_experiment(experiment)
        if problems:
            raise SettingsError(problems)
        return experiment


@dataclass(frozen=True)
class Settings:
    """Everything that a simulation on one machine can be told."""

    experiment: str = "phantom"
    seed: int = 0
    """Sets initialisation, batches without privacy, and partition; never noise or sampling."""
    rounds: int = 10
    local_steps: int = 10
    """Optimiser steps a site takes in a round."""
    threads: int = 1
    """CPU threads a site computes with; results are bit-equal only for equal threads."""
    evaluate_every: int = 1
    """Rounds between two evaluations on the validation part."""
    quorum: int | None = None
    """Least number of answers for a round to be applied; ``None`` means more than half."""
    output_dir: str | None = None
    ledger_dir: str | None = None
    partition: Literal["natural"] = "natural"
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    engine: EngineSettings = field(default_factory=EngineSettings)


def check_settings(settings: Settings) -> list[str]:
    """Return every contradiction between settings, a line each."""
    problems = check_positive(
        {
            "rounds": settings.rounds,
            "local_steps": settings.local_steps,
            "threads": settings.threads,
            "evaluate_every": settings.evaluate_every,
        }
    )
    if settings.quorum is not None and settings.quorum < 1:
        problems.append(f"quorum: expected at least 1, got {settings.quorum}")
    if settings.engine.workers is not None and settings.engine.workers < 1:
        problems.append(f"engine.workers: expected at least 1, got {settings.engine.workers}")
    data = settings.data
    if data.layout == "table":
        if data.root is None:
            problems.append("data.root must be given: the folder that holds the table")
        if (data.image_column is None) == (data.image_pattern is None):
            problems.append("give exactly one of data.image_column and data.image_pattern")
    if settings.privacy.unit == "patient" and data.patient_column is None:
        problems.append(
            "privacy=patient needs data.patient_column: the column that identifies the patient "
            "(without one the unit is the image: privacy=image)"
        )
    if settings.privacy.unit == "image" and data.patient_column is not None:
        problems.append(
            f"privacy=image protects one image, but data.patient_column={data.patient_column} "
            "tells patients apart: use privacy=patient, or data.patient_column=null"
        )
    problems += (
        check_task(data) + check_privacy(settings.privacy) + check_strategy(settings.strategy)
    )
    return problems


def check_experiment(experiment: Experiment) -> list[str]:
    """Return what a site holds against a shared experiment, a line each."""
    problems = check_positive(
        {
            "rounds": experiment.rounds,
            "local_steps": experiment.local_steps,
            "threads": experiment.threads,
        }
    )
    if experiment.data.classes is None:
        problems.append("data.classes: the shared experiment needs its list of classes")
    problems += check_task(experiment.data)
    return problems + check_privacy(experiment.privacy) + check_strategy(experiment.strategy)


def check_positive(values: Mapping[str, int]) -> list[str]:
    return [f"{k}: expected at least 1, got {v}" for k, v in values.items() if v < 1]


def check_task(task: TaskSettings) -> list[str]:
    problems = []
    if task.channels not in (1, 3):
        problems.append(f"data.channels: expected 1 or 3, got {task.channels}")
    if not 8 <= task.image_size <= 1024:
        problems.append(f"data.image_size: expected 8 to 1024 pixels, got {task.image_size}")
    if not 0 < task.test_fraction < 1:
        problems.append(f"data.test_fraction: expected between 0 and 1, got {task.test_fraction}")
    if task.validation_fraction < 0 or task.test_fraction + task.validation_fraction >= 1:
        problems.append(
            "data.validation_fraction: expected at least 0 and, with data.test_fraction, "
            f"below 1, got {task.validation_fraction}"
        )
    if task.classes is not None:
        if len(set(task.classes)) != len(task.classes):
            problems.append("data.classes: a class stands in the list twice")
        if task.negative_label in task.classes:
            problems.append(
                f"data.negative_label: '{task.negative_label}' means none of the classes, "
                "so it cannot be one of them"
            )
        if len(task.classes) < (1 if task.multi_label else 2):
            problems.append("data.classes: a classifier needs at least two classes")
    return problems


def check_strategy(strategy: StrategySettings) -> list[str]:
    problems = check_positive({"strategy.batch_size": strategy.batch_size})
    if strategy.learning_rate <= 0:
        problems.append(f"strategy.learning_rate: expected above 0, got {strategy.learning_rate}")
    if strategy.weight_decay < 0:
        problems.append(f"strategy.weight_decay: expected at least 0, got {strategy.weight_decay}")
    if not 0 <= strategy.momentum < 1:
        problems.append(f"strategy.momentum: expected in [0, 1), got {strategy.momentum}")
    return problems


def check_privacy(privacy: PrivacyTarget) -> list[str]:
    if not privacy.enabled:
        given = [n for n in ("epsilon", "noise_multiplier") if getattr(privacy, n) is not None]
        return [
            f"privacy=none with privacy.{name}={getattr(privacy, name)}: training without "
            f"privacy has no {name}; choose privacy=patient, or leave it out"
            for name in given
        ]
    problems = []
    if privacy.epsilon is None and privacy.noise_multiplier is None:
        problems.append("give privacy.epsilon (σ is planned for it) or privacy.noise_multiplier")
    if privacy.epsilon is not None and privacy.epsilon <= 0:
        problems.append(f"privacy.epsilon: expected above 0, got {privacy.epsilon}")
    if privacy.noise_multiplier is not None and privacy.noise_multiplier <= 0:
        problems.append(
            f"privacy.noise_multiplier: expected above 0, got {privacy.noise_multiplier}"
        )
    if privacy.delta is None or not 0 < privacy.delta < 1:
        problems.append(f"privacy.delta: expected between 0 and 1, got {privacy.delta}")
    if privacy.max_grad_norm <= 0:
        problems.append(f"privacy.max_grad_norm: expected above 0, got {privacy.max_grad_norm}")
    if privacy.sample_rate is not None and not 0 < privacy.sample_rate <= 1:
        problems.append(f"privacy.sample_rate: expected in (0, 1], got {privacy.sample_rate}")
    return problems
