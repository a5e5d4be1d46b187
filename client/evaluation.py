"""Scores at the site, exact counts out; ``release.py`` has those of patients that noise covers.

``exact`` counts are covered by no ε. Classes that few patients have are withheld from them whole:
what leaves is what a site without those images (or labels) would have sent. ``subgroups.py`` counts
by group of metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.cohort import Cohort
from client.subgroups import GroupRelease, count_groups
from client.training import place
from client.withholding import few_patients, withhold
from common.config import Experiment
from common.data.transforms import normalise
from common.metrics import Counts, OperatingPoint, Scored, count, count_replicates, figures
from common.metrics.bootstrap import Replicates, draw_patients

BATCH = 256


@dataclass(frozen=True)
class ExactRelease:
    """What no ε covers, and the classes that are not in it.

    Attributes:
        counts: of the images.
        replicates: of the counts; ``None`` where none are asked for.
        withheld: classes that few patients have.
        groups: the groups of each column of metadata that is counted by.
    """

    counts: Counts
    replicates: Replicates | None
    withheld: tuple[str, ...]
    groups: Mapping[str, tuple[GroupRelease, ...]] = field(default_factory=dict)

    def figures(
        self, classes: tuple[str, ...], point: OperatingPoint | None = None
    ) -> dict[str, Any]:
        """What follows from it, with intervals; also at an operating point, where there is one."""
        again = None if self.replicates is None else self.replicates.expand(self.counts)
        return figures(self.counts, classes, again, point)

    def packed_groups(self) -> dict[str, tuple[Replicates, ...]]:
        """The groups as they cross the wire: no image is in one that the counts are not of."""
        return {
            column: tuple(Replicates.pack(group.draws, self.counts) for group in groups)
            for column, groups in self.groups.items()
        }

    def names(self, classes: tuple[str, ...]) -> list[str]:
        """Every figure that leaves, by name, for the disclosure log."""
        shown = [name for name in classes if name not in self.withheld]
        names = [*self._counted(shown), "log loss by temperature"]
        for column, groups in self.groups.items():
            for group in groups:
                held = [name for name in shown if name not in group.withheld]
                counted = self._counted(held) if held else []
                names += [f"{name}, of {column} {group.name}" for name in counted]
        if self.replicates is not None:
            again = "the counts, reliability, log loss and Brier score"
            again += ", and of those of each group" if self.groups else ""
            names.append(f"{len(self.replicates.cells)} bootstrap replicates of {again}")
        return names

    def withheld_names(self) -> list[str]:
        """What is left out whole: classes, and classes of a group."""
        return [
            *self.withheld,
            *(
                f"{name} of {column} {group.name}"
                for column, groups in self.groups.items()
                for group in groups
                for name in group.withheld
                if name not in self.withheld
            ),
        ]

    def _counted(self, shown: Sequence[str]) -> list[str]:
        """What is counted of these classes, for all patients or for a group alike."""
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
            "Brier score",
            "number of labels",
        ]
        return names


def evaluate(
    model: nn.Module,
    cohort: Cohort,
    experiment: Experiment,
    min_count: int = 0,
    temperature: float = 1.0,
    draw: tuple[str, str] | None = None,
    columns: Iterable[str] = (),
) -> ExactRelease | None:
    """Score every image of ``cohort`` that may be counted; ``None`` where it has no image.

    Args:
        model: the classifier; it is left on the CPU, in evaluation mode.
        cohort: one part of the site's patients.
        experiment: the shared experiment, which says the classes.
        min_count: classes with fewer patients are withheld whole; 0 withholds none.
        temperature: at which the losses and the reliability are told as well.
        draw: key and label of the bootstrap's draws (``draw_patients``); ``None`` draws none.
        columns: those of ``experiment.evaluation.subgroups`` to count by.
    """
    if not len(cohort.rows):
        return None
    few = few_patients(cohort, experiment.multi_label, min_count)
    kept = withhold(cohort, few, experiment.multi_label)
    scored = replace(score(model, kept, experiment), temperature=temperature)
    counts, replicates, weights = count(scored), None, np.zeros((0, len(scored)), np.int64)
    if draw is not None:
        drawn = draw_patients(*draw, len(kept.patients), experiment.evaluation.replicates)
        weights = image_weights(kept, drawn)
        replicates = Replicates.pack(count_replicates(scored, weights), counts)
    groups = {
        column: count_groups(kept, scored, weights, column, experiment, min_count)
        for column in columns
    }
    names = tuple(name for name, is_few in zip(experiment.classes, few, strict=True) if is_few)
    return ExactRelease(counts, replicates, names, groups)


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
    target = place(model)
    model.eval()
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
