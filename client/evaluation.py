"""Scores at the site, counts out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.cohort import Cohort
from client.training import device
from common.config import Experiment
from common.data.transforms import normalise
from common.metrics import Counts, count

BATCH = 256


def evaluate(model: nn.Module, cohort: Cohort, experiment: Experiment) -> Counts | None:
    """Score every image of ``cohort``; ``None`` where it has none."""
    if not len(cohort.rows):
        return None
    target = device()
    model.to(target).eval()
    total = Counts.zero(len(experiment.classes), experiment.multi_label)
    with torch.inference_mode():
        for start in range(0, len(cohort.rows), BATCH):
            images, labels = cohort.batch(cohort.rows[start : start + BATCH])
            logits = model(normalise(images.to(target))).double().cpu()
            log_odds, log_probability = log_scores(logits, labels, experiment.multi_label)
            total = total + count(log_odds, log_probability, labels.numpy(), experiment.multi_label)
    model.cpu()
    return total


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
