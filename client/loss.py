"""One loss an image, so that plain and private training use the same.

Every loss is a mean over the known labels of one image, made from that image's logits and from
constants alone: no image's loss depends on another's. Under privacy the constants are public.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.cohort import Cohort
from common.config import Experiment
from common.errors import PrivacyError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits float32 (B, K) and labels float32 (B, K), NaN where unknown, to a loss an image, (B,)."""


@dataclass(frozen=True)
class Frequencies:
    """How often each class is there.

    Attributes:
        shares: float64 (K,), of the images whose label is known; strictly between 0 and 1.
        images: how many images each share is of, float64 (K,), at least 1.
    """

    shares: NDArray[np.float64]
    images: NDArray[np.float64]

    @staticmethod
    def counted(cohort: Cohort) -> Frequencies:
        """Those of a site's own training images: exact, so without privacy alone.

        One image of either kind is added, so that a class that is absent has a logarithm; one
        that no image knows has a half, of one image.
        """
        labels = cohort.labels[cohort.rows]
        known = (~np.isnan(labels)).sum(axis=0)
        return Frequencies((np.nansum(labels, axis=0) + 1) / (known + 2), np.maximum(known, 1.0))


def build_loss(experiment: Experiment, cohort: Cohort | None = None) -> Loss:
    """The experiment's loss.

    Args:
        experiment: names the loss, and may give public priors.
        cohort: a site's training images, whose exact counts serve where no priors are given;
            ``None`` under privacy.

    Raises:
        PrivacyError: where priors are needed and neither is there.
    """
    settings, multi_label = experiment.loss, experiment.multi_label
    loss = partial(loss_per_image, multi_label=multi_label)
    if settings.name == "focal":
        return partial(loss, gamma=settings.gamma)
    if settings.name == "class_balanced":
        found = _frequencies(experiment, cohort)
        return partial(loss, weights=class_balanced_weights(found, settings.beta, multi_label))
    if settings.name == "logit_adjusted":
        found = _frequencies(experiment, cohort)
        return partial(loss, shift=settings.tau * log_prior(found, multi_label))
    return loss


def _frequencies(experiment: Experiment, cohort: Cohort | None) -> Frequencies:
    settings = experiment.loss
    if settings.priors is not None:
        shares = np.array([settings.priors[name] for name in experiment.classes])
        return Frequencies(shares, np.full(len(shares), float(settings.prior_images or 1)))
    if cohort is None:
        raise PrivacyError(f"loss={settings.name} under privacy needs public loss.priors")
    return Frequencies.counted(cohort)


def loss_per_image(
    logits: Tensor,
    labels: Tensor,
    multi_label: bool,
    *,
    gamma: float = 0.0,
    weights: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Cross entropy, or for several labels the mean binary cross entropy over the known ones.

    With p the probability of the label that was observed, each label's loss is
    −w (1 − p)^γ log p, where p is made of logits + shift.

    Args:
        logits: float32 (B, K).
        labels: float32 (B, K) of 0 and 1, NaN where unknown (multi-label only).
        multi_label: softmax over the classes, or a sigmoid a class.
        gamma: γ of the focal loss (Lin et al. 2017, eq. 4); 0 is the cross entropy.
        weights: w, float32 (2, K): of each class where it is absent, and where it is there.
        shift: float32 (K,), added to the logits (Menon et al. 2021, eq. 10).

    Returns:
        float32 (B,). The mean is within the image, so no image's loss depends on another's.
    """
    if shift is not None:
        logits = logits + shift.to(logits)
    known = ~labels.isnan()
    target = torch.where(known, labels, 0.0)
    if multi_label:
        sign = 2 * target - 1
        log_p = torch.nn.functional.logsigmoid(sign * logits)
        log_rest = torch.nn.functional.logsigmoid(-sign * logits)
    else:
        every = torch.log_softmax(logits, dim=1)
        observed = target.argmax(dim=1, keepdim=True)
        log_p = every.gather(1, observed)  # (B, 1)
        log_rest = every.scatter(1, observed, -torch.inf).logsumexp(dim=1, keepdim=True)
        known = known.gather(1, observed)
    each = -log_p
    if gamma:
        each = torch.exp(gamma * log_rest) * each  # (1 − p)^γ, finite with its gradient at p = 1
    if weights is not None:
        absent, present = weights.to(logits)
        each = each * (torch.lerp(absent, present, target) if multi_label else present[observed])
    return (each * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def class_balanced_weights(frequencies: Frequencies, beta: float, multi_label: bool) -> Tensor:
    """One over the effective number of images, (1 − βⁿ) / (1 − β) (Cui et al. 2019, eq. 2).

    Returns:
        float32 (2, K), absent and present. With one label an image the weights of the present
        classes have mean 1, as in the paper. With several, each class is a problem of two: its
        own two weights have mean 1.
    """
    shares = np.stack([1 - frequencies.shares, frequencies.shares])  # (2, K)
    weights = (1 - beta) / -np.expm1(shares * frequencies.images * np.log(beta))
    axis = 0 if multi_label else 1
    weights /= weights.mean(axis=axis, keepdims=True)
    return torch.from_numpy(weights).float()


def log_prior(frequencies: Frequencies, multi_label: bool) -> Tensor:
    """log π of each class, or with several labels an image its log-odds; float32 (K,).

    Menon et al. 2021 derive the shift for the softmax. For a sigmoid the same argument (Bayes'
    rule for a classifier that is to be right as often on either side) gives the log-odds.
    """
    shares = frequencies.shares
    shift = np.log(shares) - (np.log1p(-shares) if multi_label else 0.0)
    return torch.from_numpy(shift).float()
