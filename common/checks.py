"""Contradictions between settings, found together and reported together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import yaml

from common.config import Experiment, PrivacyTarget, Settings, SourceSettings, TaskSettings
from common.data.labels import is_multi_label
from common.data.pool import PoolSettings
from common.data.records import path_regex, pattern_columns
from common.errors import SettingsError
from common.evaluation import check_evaluation
from common.model_settings import ModelSettings
from common.schema import build, parse_yaml, suggest
from common.strategy_checks import NO_SHARED_MODEL, check_centred, check_strategy


def parse_experiment(text: str) -> Experiment:
    """Parse what a server sent: safe YAML, typed and checked, nothing interpolated.

    Raises:
        SettingsError: on text that is not YAML, on ``${…}``, on any unknown or wrong setting.
    """
    if "${" in text:
        raise SettingsError("the experiment holds '${': a site interpolates nothing")
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        raise SettingsError("the experiment is not a YAML text") from error
    experiment = build(Experiment, values)
    problems = check_experiment(experiment)
    if problems:
        raise SettingsError(problems)
    return experiment


def check_settings(settings: Settings, *, has_data: bool = True) -> list[str]:
    """Return every contradiction between settings, a line each.

    Args:
        settings: a simulation's or a server's.
        has_data: whether the sites' half of the data settings is here too; a server has none.
    """
    problems = check_sizes(settings)
    problems += check_positive({"evaluate_every": settings.evaluate_every})
    if settings.seed < 0:
        problems.append(f"seed: expected at least 0, got {settings.seed}")
    if settings.quorum is not None and settings.quorum < 1:
        problems.append(f"quorum: expected at least 1, got {settings.quorum}")
    problems += check_keep(settings)
    if settings.model.trainable == "head" and settings.model.pretrained is None:
        problems.append(
            "model.trainable=head needs model.pretrained: a backbone of random weights, which no "
            "site trains, sees nothing"
        )
    if settings.engine.workers is not None and settings.engine.workers < 1:
        problems.append(f"engine.workers: expected at least 1, got {settings.engine.workers}")
    if settings.deadline_seconds <= 0:
        problems.append(f"deadline_seconds: expected above 0, got {settings.deadline_seconds}")
    if settings.design != "none" and settings.partition.held_out is not None:
        problems.append(
            f"design={settings.design} says itself who is held out: leave partition.held_out away"
        )
    if settings.design != "none" and not has_data:
        problems.append(f"design={settings.design} needs all images on one machine: simulate")
    if settings.design != "none" and settings.strategy.name in NO_SHARED_MODEL:
        problems.append(
            f"design={settings.design} scores one shared model at every site, and strategy.name="
            f"{settings.strategy.name} has none: take another, as strategy=fedavg"
        )
    if has_data:
        problems += _check_data(settings)
    elif settings.data.classes is None:
        problems.append(
            "data.classes must be given: a server holds no data to derive them from; a public, "
            "ordered list, as data.classes=[benign,malignant]"
        )
    multi_label = is_multi_label(settings.data, settings.data)
    problems += (
        check_task(settings.data, multi_label)
        + check_privacy(settings.privacy)
        + check_strategy(settings.strategy, settings.privacy)
        + check_loss(settings, multi_label)
        + check_evaluation(settings.evaluation)
    )
    return problems


def _check_data(settings: Settings) -> list[str]:
    """What only a simulation has: the sites' half of the data settings."""
    data, problems = settings.data, []
    if data.root is None and not data.phantom:
        problems.append("data.root must be given: the folder that holds the images")
    if data.download and data.layout != "medmnist":
        problems.append("data.download fetches MedMNIST's files alone: data.layout=medmnist")
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
    problems += [
        f"privacy.subgroups: '{column}' is no column of evaluation.subgroups"
        f"{suggest(column, settings.evaluation.subgroups)}"
        for column in settings.privacy.subgroups
        if column not in settings.evaluation.subgroups
    ]
    return problems + check_source(data) + check_pool(settings.partition)


def check_keep(settings: Settings) -> list[str]:
    """Which round is kept may rest on figures that no ε covers only where there is no ε."""
    if settings.keep == "average" and not 0 <= settings.average_decay < 1:
        return [f"average_decay={settings.average_decay}: expected at least 0 and below 1"]
    if settings.keep != "best_validation":
        return []
    problems = []
    if settings.privacy.enabled:
        problems.append(
            "keep=best_validation chooses by the sites' exact validation figures, which no ε "
            "covers: under privacy use keep=last or keep=average"
        )
    if settings.data.validation_fraction == 0:
        problems.append("keep=best_validation needs data.validation_fraction above 0")
    return problems


def check_experiment(experiment: Experiment) -> list[str]:
    """Return what a site holds against a shared experiment, a line each."""
    problems = check_sizes(experiment)
    if experiment.data.classes is None:
        problems.append("data.classes: the shared experiment needs its list of classes")
    problems += check_task(experiment.data, experiment.multi_label)
    problems += check_privacy(experiment.privacy)
    problems += check_strategy(experiment.strategy, experiment.privacy)
    problems += check_loss(experiment, experiment.multi_label)
    return problems + check_evaluation(experiment.evaluation)


def check_sizes(run: Settings | Experiment) -> list[str]:
    """The sizes that a simulation and a shared experiment both have."""
    problems = check_model(run.model, run.data)
    if run.model.centred:
        problems += check_centred(run.strategy)
    if run.privacy.augmentations > 1 and run.data.augmentation == "none":
        problems.append(
            f"privacy.augmentations={run.privacy.augmentations} with data.augmentation=none: every "
            "view would be the same; choose a data.augmentation, or leave it at 1"
        )
    return problems + check_positive(
        {
            "rounds": run.rounds,
            "local_steps": run.local_steps,
            "threads": run.threads,
            "model.width": run.model.width,
        }
    )


def check_model(model: ModelSettings, task: TaskSettings) -> list[str]:
    problems = []
    if model.stem == "imagenet" and task.image_size < 32:
        problems.append(
            f"model.stem=imagenet needs data.image_size of 32 or more, got {task.image_size}: "
            "it leaves nothing of smaller images; use model.stem=small"
        )
    if not 0 < model.centre_norm < math.inf:
        problems.append(f"model.centre_norm: expected above 0, got {model.centre_norm}")
    for column, encoding in model.metadata.items():
        numeric = encoding.mean is not None and encoding.scale is not None
        if bool(encoding.values) is numeric or (numeric and (encoding.scale or 0) <= 0):
            problems.append(
                f"model.metadata.{column}: expected either values, as {{values: [F, M]}}, or mean "
                "and a scale above 0, as {mean: 60, scale: 15}; public constants, not computed "
                "from the data"
            )
    return problems


def check_positive(values: Mapping[str, int]) -> list[str]:
    return [f"{k}: expected at least 1, got {v}" for k, v in values.items() if v < 1]


def check_task(task: TaskSettings, multi_label: bool) -> list[str]:
    """Images and classes, a line for each problem."""
    problems = []
    if task.channels not in (1, 3):
        problems.append(f"data.channels: expected 1 or 3, got {task.channels}")
    if not 16 <= task.image_size <= 1024:
        problems.append(f"data.image_size: expected 16 to 1024 pixels, got {task.image_size}")
    if task.classes is not None:
        twice = sorted({c for c in task.classes if task.classes.count(c) > 1})
        if twice:
            problems.append(f"data.classes: {', '.join(twice)} stands in the list twice")
        if task.negative_label in task.classes:
            problems.append(
                f"data.negative_label: '{task.negative_label}' means none of the classes, "
                "so it cannot be one of them"
            )
        if len(task.classes) < (1 if multi_label else 2):
            problems.append(
                "data.classes: a classifier needs at least two classes, got "
                f"{', '.join(task.classes) or 'none'}"
            )
    return problems


def check_source(source: SourceSettings) -> list[str]:
    """What a site's own half of the data settings holds against itself."""
    problems = []
    if source.layout == "folder" and (source.image_column or not source.image_pattern):
        problems.append(
            "data.layout=folder needs data.image_pattern, as {label}/{image}, and no "
            "data.image_column: all that it knows of an image is its path"
        )
    if source.image_column is None and source.image_pattern is None:
        problems.append("give data.image_column or data.image_pattern: where the images are")
    from_path = source.layout in ("folder", "dicom") or source.image_column is not None
    try:
        if from_path:
            path_regex(source.image_pattern or "")
        else:
            pattern_columns(source.image_pattern)
    except (ValueError, re.error) as error:
        problems.append(
            f"data.image_pattern: expected columns in braces, got '{source.image_pattern}': {error}"
        )
    problems += _check_intensity(source)
    if not 0 < source.test_fraction <= 1:
        problems.append(
            f"data.test_fraction: expected above 0, and 1 at most, got {source.test_fraction}"
        )
    if source.validation_fraction < 0 or source.test_fraction + source.validation_fraction > 1:
        problems.append(
            "data.validation_fraction: expected at least 0 and, with data.test_fraction, "
            f"1 at most, got {source.validation_fraction}"
        )
    return problems


def _check_intensity(source: SourceSettings) -> list[str]:
    bounds, problems = source.intensity_bounds, []
    two = len(bounds) == 2 and bounds[0] < bounds[1]
    if source.intensity == "range" and not two:
        problems.append("data.intensity=range needs data.intensity_bounds, as [-1000, 400]")
    percents = not bounds or (two and bounds[0] >= 0 and bounds[1] <= 100)
    if source.intensity == "percentile" and not percents:
        problems.append("data.intensity_bounds: expected two percents, as [1, 99]")
    if bounds and source.intensity not in ("range", "percentile"):
        problems.append(f"data.intensity={source.intensity} takes no data.intensity_bounds")
    if source.view < 0:
        problems.append(f"data.view: expected at least 0, got {source.view}")
    return problems


def check_pool(pool: PoolSettings) -> list[str]:
    problems = check_positive({"partition.sites": pool.sites})
    if not 0 < pool.alpha < math.inf:
        problems.append(f"partition.alpha: expected above 0, got {pool.alpha}")
    if pool.seed is not None and pool.seed < 0:
        problems.append(f"partition.seed: expected at least 0, got {pool.seed}")
    return problems


def check_loss(run: Settings | Experiment, multi_label: bool) -> list[str]:
    """The loss, its constants and its priors, a line for each problem."""
    loss, classes, problems = run.loss, run.data.classes, []
    if loss.gamma <= 0:
        problems.append(f"loss.gamma: expected above 0, got {loss.gamma}")
    if not 0 < loss.beta < 1:
        problems.append(f"loss.beta: expected between 0 and 1, got {loss.beta}")
    if loss.tau <= 0:
        problems.append(f"loss.tau: expected above 0, got {loss.tau}")
    if loss.name not in ("class_balanced", "logit_adjusted"):
        return problems
    if loss.priors is None:
        if run.privacy.enabled:
            problems.append(
                f"loss={loss.name} under privacy needs loss.priors: each class's public share of "
                "the images, as {benign: 0.8, malignant: 0.2}; a site's own counts are private"
            )
        return problems
    if classes is not None and set(loss.priors) != set(classes):
        problems.append(
            f"loss.priors: expected a share for each of {', '.join(classes)}, got one for "
            f"{', '.join(loss.priors)}"
        )
    total = sum(loss.priors.values())
    wrong = {name: share for name, share in loss.priors.items() if not 0 < share < 1}
    if wrong:
        problems.append(f"loss.priors: expected shares of the images, between 0 and 1, got {wrong}")
    elif not multi_label and abs(total - 1) > 0.01:
        problems.append(f"loss.priors: expected shares that add to 1, got {total:g}")
    if loss.name == "class_balanced" and (loss.prior_images or 0) < 1:
        problems.append("loss.prior_images must be given: how many images loss.priors is of")
    return problems


def check_privacy(privacy: PrivacyTarget) -> list[str]:
    if not privacy.enabled:
        names = ("epsilon", "epsilon_life", "noise_multiplier")
        given = [n for n in names if getattr(privacy, n) is not None]
        return [
            f"privacy=none with privacy.{name}={getattr(privacy, name)}: training without "
            f"privacy has no {name}; choose privacy=patient, or leave it out"
            for name in given
        ]
    problems = check_positive({"privacy.augmentations": privacy.augmentations})
    targets = {n: getattr(privacy, n) for n in ("epsilon", "epsilon_life", "noise_multiplier")}
    if all(value is None for value in targets.values()):
        problems.append("give privacy.epsilon (σ is planned for it) or privacy.noise_multiplier")
    for name, value in targets.items():
        if value is not None and value <= 0:
            problems.append(f"privacy.{name}: expected above 0, got {value}")
    if privacy.delta is None or not 0 < privacy.delta < 1:
        problems.append(f"privacy.delta: expected between 0 and 1, got {privacy.delta}")
    if privacy.max_grad_norm <= 0:
        problems.append(f"privacy.max_grad_norm: expected above 0, got {privacy.max_grad_norm}")
    if privacy.sample_rate is not None and not 0 < privacy.sample_rate <= 1:
        problems.append(f"privacy.sample_rate: expected in (0, 1], got {privacy.sample_rate}")
    return problems
