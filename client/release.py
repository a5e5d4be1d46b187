"""A noised release of evaluation, paid for by the test patients' own budget.

``noised`` histograms are one Gaussian mechanism on the patients of the part. Its sensitivity of
√K rests on two things. A patient adds one count a class, whatever it brings. And a patient's
score depends on its own images alone: they pass through the model apart from everybody else's,
since even the rounding of a sum may change with what else is in a batch.
"""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from client.budget import next_release
from client.cohort import Cohort
from client.disclosure import TEST_BUDGET, log_error, log_release
from client.evaluation import scores
from client.privacy.entropy import SecretStream
from client.site import Site
from client.withholding import patient_labels
from common.config import Experiment
from common.errors import BudgetError, PrivacyError
from common.histograms import Histograms, count_patients
from common.messages import EvaluateRequest
from common.metrics.grid import LOGIT_LIMIT
from common.metrics.scores import log_odds

RELEASE_STEP = 2.0**-10
"""Noised cells are rounded to this: their low bits, which depend on the count, stay here."""


def noised_release(site: Site, request: EvaluateRequest, model: nn.Module) -> Histograms | None:
    """Histograms of the test patients' scores under Gaussian noise; charged before any is scored.

    The training patients' ε does not add: no patient is in both parts, since the split follows a
    key that the ledger holds for the site's life.

    Returns:
        ``None`` where the policy's releases are spent.
    """
    experiment = request.experiment
    cohort = Cohort.load(site, experiment, request.part)
    try:
        with site.ledger().transaction() as book:
            release = next_release(
                book.entries,
                request.run_id,
                request.server_round,
                request.digest,
                site.own_unit,
                site.settings.policy,
            )
            book.append(release)
    except BudgetError as error:
        log_error(site.folder, "evaluate", error)
        return None
    exact = patient_histograms(model, cohort, experiment)
    noised = add_noise(exact, release.noise_multiplier, SecretStream())
    log_release(site.folder, request, noised_names(experiment.classes), TEST_BUDGET)
    return noised


def noised_names(classes: tuple[str, ...]) -> list[str]:
    """Every figure in a noised release, by name, for the disclosure log."""
    sides = ("positives", "negatives")
    return [f"noised {side} of {c} by score, of patients" for c in classes for side in sides]


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
    for logits, labels in scores(model, cohort, cohort.patients):
        odds = log_odds(logits, experiment.multi_label)
        means.append(odds.clip(-LOGIT_LIMIT, LOGIT_LIMIT).mean(axis=0, keepdims=True))
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
