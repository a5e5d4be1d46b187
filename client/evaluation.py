"""Scores at the site, exact counts out; ``release.py`` has those of patients that noise covers.

``exact`` counts are covered by no ε. Classes that few patients have are withheld from them whole:
what leaves is what a site without those images (or labels) would have sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.cohort import Cohort
from client.training import device
from common.config import Experiment
from common.data.transforms import normalise
from common.metrics import Counts, Scored, count, count_replicates, figures
from common.metrics.bootstrap import Replicates, draw_patients

BATCH = 256


@dataclass(frozen=True)
class ExactRelease:
    """What no ε covers, and the classes that are not in it.

    Attributes:
        counts: of the images.
        replicates: of the counts; ``None`` where none are asked for.
        withheld: classes that few patients have.
    """

    counts: Counts
    replicates: Replicates | None
    withheld: tuple[str, ...]

    def figures(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """What follows from it, with intervals."""
        again = None if self.replicates is None else self.replicates.expand(self.counts)
        return figures(self.counts, classes, again)

    def names(self, classes: tuple[str, ...]) -> list[str]:
        """Every figure that leaves, by name, for the disclosure log."""
        shown = [name for name in classes if name not in self.withheld]
        names = [f"{side} of {c} by score" for c in shown for side in ("positives", "negatives")]
        if self.counts.multi_label:
            names += [f"confusion of {c}" for c in shown]
        else:
            names.append("confusion matrix")
        names += [f"AUROC and average precision of {c}, exact" for c in shown]
        names += [
            "AUROC and average precision of all classes, exact",
            "right and wrong decisions by certainty",
            "reliability by probability",
            "log loss",
            "log loss by temperature",
            "Brier score",
            "number of labels",
        ]
        if self.replicates is not None:
            again = "the counts, reliability, log loss and Brier score"
            names.append(f"{len(self.replicates.cells)} bootstrap replicates of {again}")
        return names


def evaluate(
    model: nn.Module,
    cohort: Cohort,
    experiment: Experiment,
    min_count: int = 0,
    temperature: float = 1.0,
    draw: tuple[str, str] | None = None,
) -> ExactRelease | None:
    """Score every image of ``cohort`` that may be counted; ``None`` where it has no image.

    Args:
        model: the classifier; it is left on the CPU, in evaluation mode.
        cohort: one part of the site's patients.
        experiment: the shared experiment, which says the classes.
        min_count: classes with fewer patients are withheld whole; 0 withholds none.
        temperature: at which the losses and the reliability are told as well.
        draw: key and label of the bootstrap's draws (``draw_patients``); ``None`` draws none.
    """
    if not len(cohort.rows):
        return None
    few = few_patients(cohort, experiment.multi_label, min_count)
    kept = withhold(cohort, few, experiment.multi_label)
    scored = replace(score(model, kept, experiment), temperature=temperature)
    counts, replicates = count(scored), None
    if draw is not None:
        drawn = draw_patients(*draw, len(kept.patients), experiment.evaluation.replicates)
        again = count_replicates(scored, image_weights(kept, drawn))
        replicates = Replicates.pack(again, counts)
    names = tuple(name for name, is_few in zip(experiment.classes, few, strict=True) if is_few)
    return ExactRelease(counts, replicates, names)


def score(model: nn.Module, cohort: Cohort, experiment: Experiment) -> Scored:
    """Every image of ``cohort``, in the order of its rows."""
    batches = [cohort.rows[i : i + BATCH] for i in range(0, len(cohort.rows), BATCH)]
    num_classes = len(experiment.classes)
    logits, labels = [np.zeros((0, num_classes))], [np.zeros((0, num_classes), np.float32)]
    for scored in scores(model, cohort, batches):
        logits.append(scored[0])
        labels.append(scored[1])
    return Scored(np.concatenate(logits), np.concatenate(labels), experiment.multi_label)


def scores(
    model: nn.Module, cohort: Cohort, groups: Iterable[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Score groups of rows, each apart from the others.

    Args:
        model: the classifier; once every group is scored it is on the CPU again.
        cohort: whose images.
        groups: int64 (g,) each, not empty.

    Yields:
        For each group its logits, float64 (g, K), and its labels, float32 (g, K).
    """
    target = device()
    model.to(target).eval()
    for rows in groups:
        logits = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            images, _ = cohort.batch(part)
            inputs = cohort.inputs(normalise(images.to(target)), part)
            with torch.inference_mode():
                logits.append(model(*inputs).double().cpu())
        yield torch.cat(logits).numpy(), cohort.labels[rows]
    model.cpu()


def image_weights(cohort: Cohort, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each image's patient was drawn: int64 (B, n), in the order of the cohort's rows.

    Args:
        cohort: of n images.
        drawn: int64 (B, patients).
    """
    patient_of = np.zeros(len(cohort.rows), np.int64)
    for patient, rows in enumerate(cohort.patients):
        patient_of[np.searchsorted(cohort.rows, rows)] = patient
    return drawn[:, patient_of]


def patient_labels(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """One patient's label for each class.

    Args:
        labels: float32 (m, K) of its images, NaN where unknown.

    Returns:
        float32 (K,): 1 where any image has the class, 0 where every known one has not, NaN where
        none is known.
    """
    return np.asarray(np.fmax.reduce(labels, axis=0), dtype=np.float32)


def few_patients(cohort: Cohort, multi_label: bool, min_count: int) -> NDArray[np.bool_]:
    """Classes that too few patients of ``cohort`` have, or in a multi-label task have not.

    Returns:
        bool (K,). Having none is having too few: a withheld class may have none or some.
    """
    has, has_not = np.zeros((2, cohort.labels.shape[1]), np.int64)
    for rows in cohort.patients:
        label = patient_labels(cohort.labels[rows])
        has += label == 1
        has_not += label == 0
    few: NDArray[np.bool_] = has < min_count
    return few | (has_not < min_count) if multi_label else few


def withhold(cohort: Cohort, withheld: NDArray[np.bool_], multi_label: bool) -> Cohort:
    """``cohort`` as if it had none of the withheld classes' labels, nor, single-label, images.

    Args:
        cohort: left as it is.
        withheld: bool (K,).
        multi_label: each class has its own labels, so its images can stay for the others. A
            single label is one of all classes: an image that stayed would count among the
            others' negatives, and give away how many there are. It goes by its own label,
            whatever else its patient has.
    """
    labels = np.where(withheld, np.float32(np.nan), cohort.labels)
    if multi_label:
        return replace(cohort, labels=labels)
    stays = ~(cohort.labels[:, withheld] == 1).any(axis=1)
    patients = tuple(rows[stays[rows]] for rows in cohort.patients if stays[rows].any())
    return replace(cohort, labels=labels, rows=cohort.rows[stays[cohort.rows]], patients=patients)
