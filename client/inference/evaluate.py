"""A model on a folder of labelled images: the figures, for the eyes of whoever has the images.

1. the folder's labels must be the model's: another list is refused
2. images are read and scored as in a round's evaluation, and counted with nothing withheld
3. figures follow from the counts, also at the thresholds and the temperature of the model
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from client.cohort import Cohort
from client.evaluation import ExactRelease, evaluate
from client.gate.stand_in import stand_in
from client.inference.trained import TrainedModel
from client.site import Site
from client.site_images import SiteImages
from common.config import Experiment, TaskSettings
from common.data.split import Part
from common.errors import DataError, SettingsError
from common.metrics import OperatingPoint
from common.metrics.gaps import column_figures

SCHEMA = 1


def evaluate_folder(
    trained: TrainedModel, folder: Path, words: Sequence[str], part: Part | None
) -> dict[str, Any]:
    """Every figure of a model on one folder.

    Args:
        trained: the model.
        folder: a site's, or any folder of images.
        words: how a folder without ``site.yaml`` is laid out; without, that is guessed.
        part: which patients; ``None`` means all.

    Returns:
        Plain values for JSON: the model, what was scored, what was left out, and ``metrics``.

    Raises:
        SettingsError: on wrong words, or a folder whose layout cannot be told.
        DataError: where labels or images cannot be used, or the labels are another list.
    """
    experiment, point = trained.file.as_experiment(), trained.file.operating_point
    with _opened(folder, words, trained) as site:
        images = SiteImages.load(site, experiment)  # 1
        cohort = Cohort.of(images, part)  # 2
        draw = site.draw(part or "all")
        released = evaluate(
            trained.model,
            cohort,
            experiment,
            temperature=1.0 if point is None else point.temperature,
            draw=draw,
            columns=sorted(cohort.groups),
        )
    if released is None:
        raise DataError(f"{folder}: no patient is in its part '{part}'")
    return {
        "schema": SCHEMA,
        "model": {
            "run_id": trained.file.run_id,
            "experiment": trained.file.experiment,
            "name": trained.file.model.name,
            "classes": list(experiment.classes),
        },
        "part": part or "all",
        "unit": site.own_unit,
        "units": len(cohort.patients),
        "images": len(cohort.rows),
        "refused": [
            {"file": one.path.relative_to(images.manifest.root).as_posix(), "reason": one.reason}
            for one in (*images.unreadable.values(), *images.headless)
        ],
        "metrics": {  # 3
            **released.figures(experiment.classes, point),
            **({} if point is None else {"operating_point": point.to_json(experiment.classes)}),
            "subgroups": _subgroups(released, experiment, point, site.name),
        },
    }


def _subgroups(
    released: ExactRelease, experiment: Experiment, point: OperatingPoint | None, site: str
) -> dict[str, Any]:
    """By each column that the model's run was evaluated by, as in the run's result."""
    return {
        column: {
            "sites": {site: "shown" if column in released.groups else "absent"},
            **column_figures(
                ((group.name, group.draws) for group in released.groups.get(column, ())),
                experiment.classes,
                point,
            ),
        }
        for column in experiment.evaluation.subgroups
    }


@contextmanager
def _opened(folder: Path, words: Sequence[str], trained: TrainedModel) -> Iterator[Site]:
    """The site of a folder. What is decoded for one without ``site.yaml`` goes at the end."""
    if (folder / "site.yaml").exists():
        if words:
            raise SettingsError(f"{folder}: its site.yaml says all; it takes no {' '.join(words)}")
        site = Site.open(folder)
        _check_labels(folder, TaskSettings(classes=site.settings.policy.classes or None), trained)
        yield site
        return
    known = stand_in(folder, words)
    if known.listing is not None:
        raise SettingsError(
            f"{folder}: how its labels are laid out cannot be told; say it, as data=table "
            "data.label_column=dx …, or give a site's folder"
        )
    _check_labels(folder, known.task, trained)
    with tempfile.TemporaryDirectory(prefix="fedrounds-") as place:
        yield replace(known.site, folder=Path(place))


def _check_labels(folder: Path, task: TaskSettings, trained: TrainedModel) -> None:
    """Compare what is said of a folder's labels with the model's.

    Raises:
        DataError: naming both.
    """
    file, problems = trained.file, []
    for name in ("classes", "multi_label", "negative_label"):
        said, expected = getattr(task, name), getattr(file, name)
        if said is not None and said != expected:
            problems.append(f"{folder}: data.{name} is {said}, and the model's is {expected}")
    if problems:
        raise DataError("\n".join([*problems, "a model is evaluated on its own labels alone"]))
