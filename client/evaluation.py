"""Scores at the site, counts out: exact ones of images, or ones of patients that noise covers.

``exact`` counts are covered by no ε. Classes that few patients have are withheld from them whole:
what leaves is what a site without those images (or labels) would have sent.

``noised`` histograms are one Gaussian mechanism on the patients of the part. Its sensitivity of
√K rests on two things. A patient adds one count a class, whatever it brings. And a patient's
score depends on its own images alone: they pass through the model apart from everybody else's,
since even the rounding of a sum may change with what else is in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.cohort import Cohort
from client.privacy.entropy import SecretStream
from client.training import device
from common.config import Experiment
from common.data.transforms import normalise
from common.errors import PrivacyError
from common.histograms import Histograms, count_patients
from common.metrics import LOGIT_LIMIT, Counts, count

BATCH = 256

RELEASE_STEP = 2.0**-10
"""Noised cells are rounded to this: their low bits, which depend on the count, stay here."""


@dataclass(frozen=True)
class ExactRelease:
    """Counts that no ε covers, and the classes that are not in them."""

    counts: Counts
    withheld: tuple[str, ...]


def evaluate(
    model: nn.Module, cohort: Cohort, experiment: Experiment, min_count: int = 0
) -> ExactRelease | None:
    """Score every image of ``cohort`` that may be counted; ``None`` where it has no image.

    Args:
        model: the classifier; it is left on the CPU, in evaluation mode.
        cohort: one part of the site's patients.
        experiment: the shared experiment, which says the classes.
        min_count: classes with fewer patients are withheld whole; 0 withholds none.
    """
    if not len(cohort.rows):
        return None
    few = few_patients(cohort, experiment.multi_label, min_count)
    kept = withhold(cohort, few, experiment.multi_label)
    batches = [kept.rows[i : i + BATCH] for i in range(0, len(kept.rows), BATCH)]
    total = Counts.zero(len(experiment.classes), experiment.multi_label)
    for log_odds, log_probability, labels in scores(model, kept, experiment, batches):
        total = total + count(log_odds, log_probability, labels, experiment.multi_label)
    if not experiment.multi_label:  # what remains of a withheld class: the others' scores for it
        total.negatives[few] = 0
    names = tuple(name for name, is_few in zip(experiment.classes, few, strict=True) if is_few)
    return ExactRelease(total, names)


def patient_histograms(model: nn.Module, cohort: Cohort, experiment: Experiment) -> Histograms:
    """Score every patient of ``cohort``, exactly; :func:`add_noise` makes it fit to leave.

    A patient's score for a class is the mean of its images' log-odds, each cut to ±16: in the
    logit one image at an extreme counts for no more than the others, and a NaN puts the patient
    into the lowest bin. Its label is :func:`patient_labels`.

    A cohort without patients gives zeros, not ``None``: that there is nobody is as private as
    anybody.

    Args:
        model: the classifier; it is left on the CPU, in evaluation mode.
        cohort: one part of the site's patients.
        experiment: the shared experiment, which says the K classes.
    """
    num_classes = len(experiment.classes)
    means, truths = [np.zeros((0, num_classes))], [np.zeros((0, num_classes), np.float32)]
    for log_odds, _, labels in scores(model, cohort, experiment, cohort.patients):
        means.append(log_odds.clip(-LOGIT_LIMIT, LOGIT_LIMIT).mean(axis=0, keepdims=True))
        truths.append(patient_labels(labels)[None])
    return count_patients(np.concatenate(means), np.concatenate(truths))


def add_noise(histograms: Histograms, noise_multiplier: float, stream: SecretStream) -> Histograms:
    """The Gaussian mechanism on histograms to which a patient adds at most √K in L2 norm.

    Each cell gets N(0, (σ√K)²). ε is that of one step with q = 1 and this σ.

    Args:
        histograms: of K classes.
        noise_multiplier: σ, as the ledger has it.
        stream: the site's secret stream.

    Raises:
        PrivacyError: where σ is not above 0.
    """
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise PrivacyError(f"noise_multiplier: expected above 0, got {noise_multiplier}")
    exact = np.stack([histograms.positives, histograms.negatives])  # (2, K, PATIENT_BINS)
    noise_std = noise_multiplier * math.sqrt(exact.shape[1])
    noised = exact + noise_std * stream.noise(exact.size).reshape(exact.shape)
    positives, negatives = np.round(noised / RELEASE_STEP) * RELEASE_STEP
    return Histograms(positives, negatives, math.hypot(histograms.noise_std, noise_std))


def scores(
    model: nn.Module, cohort: Cohort, experiment: Experiment, groups: Iterable[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]]:
    """Score groups of rows, each apart from the others.

    Args:
        model: the classifier; once every group is scored it is on the CPU again.
        cohort: whose images.
        experiment: the shared experiment.
        groups: int64 (g,) each, not empty.

    Yields:
        For each group the two float64 (g, K) of :func:`log_scores`, and its labels, float32 (g, K).
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
        labels = cohort.labels[rows]
        log_odds, log_probability = log_scores(
            torch.cat(logits), torch.from_numpy(labels), experiment.multi_label
        )
        yield log_odds, log_probability, labels
    model.cpu()


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
    """``cohort`` as if it had none of the withheld classes' images, or multi-label, labels.

    Args:
        cohort: left as it is.
        withheld: bool (K,).
        multi_label: each class has its own labels, so its images can stay for the others. A
            single label is one of all classes: an image that stayed would count among the
            others' negatives, and give away how many there are. It goes by its own label,
            whatever else its patient has.
    """
    if multi_label:
        return replace(cohort, labels=np.where(withheld, np.float32(np.nan), cohort.labels))
    stays = ~(cohort.labels[:, withheld] == 1).any(axis=1)
    patients = tuple(rows[stays[rows]] for rows in cohort.patients if stays[rows].any())
    return replace(cohort, rows=cohort.rows[stays[cohort.rows]], patients=patients)


def released_names(
    released: Counts | Histograms, classes: tuple[str, ...], withheld: tuple[str, ...] = ()
) -> list[str]:
    """Every figure in a release, by name, for the disclosure log."""
    shown = [name for name in classes if name not in withheld]
    names = [f"{side} of {c} by score" for c in shown for side in ("positives", "negatives")]
    if isinstance(released, Histograms):
        return [f"noised {name}, of patients" for name in names]
    multi_label = released.confusion.ndim == 3
    names += [f"confusion of {c}" for c in shown] if multi_label else ["confusion matrix"]
    return [*names, "log loss", "number of labels"]


def log_scores(
    logits: Tensor, labels: Tensor, multi_label: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each class's log-odds, and the log-probability that the loss is made of.

    Args:
        logits: float64 (B, K).
        labels: float32 (B, K), NaN where unknown.
        multi_label: sigmoid a class, or softmax over classes.

    Returns:
        Two float64 (B, K): log(p / (1 − p)), and log p (softmax) or the log-probability of the
        observed label (sigmoid; NaN where it is unknown).
    """
    if multi_label:
        sign = 2 * labels.double() - 1  # NaN stays NaN
        return logits.numpy(), torch.nn.functional.logsigmoid(sign * logits).numpy()
    log_p = torch.log_softmax(logits, dim=1)
    log_rest = torch.log(-torch.expm1(log_p.clamp(max=-1e-300)))
    return (log_p - log_rest).numpy(), log_p.numpy()
