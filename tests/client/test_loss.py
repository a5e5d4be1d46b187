"""Losses: as the papers have them, finite, and of each image alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import nn

from client.cohort import Cohort
from client.loss import (
    Frequencies,
    Loss,
    build_loss,
    class_balanced_weights,
    loss_per_image,
)
from client.site import Site
from common.config import Experiment, LossSettings
from common.errors import PrivacyError
from tests.conftest import train_ids

NAN = math.nan
NAMES = ["cross_entropy", "focal", "class_balanced", "logit_adjusted"]
PRIORS = {"a": 0.7, "b": 0.2, "c": 0.1}


def asking(experiment: Experiment, name: str, multi_label: bool = False) -> Experiment:
    """Three classes with public priors."""
    loss = LossSettings(name, gamma=1.5, beta=0.99, tau=0.8, priors=PRIORS, prior_images=200)  # type: ignore[arg-type]
    data = replace(experiment.data, classes=tuple(PRIORS), multi_label=multi_label)
    return replace(experiment, data=data, loss=loss)


def by_hand(
    name: str, logits: NDArray[np.float64], labels: NDArray[np.float64], multi_label: bool
) -> list[float]:
    """The papers' formulas in float64, label by label."""
    shares = np.array(list(PRIORS.values()))
    if name == "logit_adjusted":  # Menon et al. 2021, eq. 10
        logits = logits + 0.8 * np.log(shares / (1 - shares) if multi_label else shares)
    effective = [(1 - 0.99 ** (200 * n)) / (1 - 0.99) for n in shares]  # Cui et al. 2019, eq. 2
    absent = [(1 - 0.99 ** (200 * (1 - n))) / (1 - 0.99) for n in shares]
    losses = []
    for z, y in zip(logits, labels, strict=True):
        terms = []
        for k in range(3) if multi_label else [int(y.argmax())]:
            if np.isnan(y[k]):
                continue
            p = 1 / (1 + np.exp(-z[k])) if multi_label else np.exp(z[k]) / np.exp(z).sum()
            p = p if y[k] else 1 - p
            weight = (1 - p) ** 1.5 if name == "focal" else 1.0  # Lin et al. 2017, eq. 4
            if name == "class_balanced" and multi_label:
                own = [1 / absent[k], 1 / effective[k]]
                weight = 2 * own[int(y[k])] / sum(own)
            elif name == "class_balanced":
                weight = (1 / effective[k]) / np.mean([1 / e for e in effective])
            terms.append(-weight * np.log(p))
        losses.append(float(np.mean(terms)) if terms else 0.0)
    return losses


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_the_papers(name: str, multi_label: bool, experiment: Experiment) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (64, 3))
    labels = np.eye(3)[rng.integers(3, size=64)]
    if multi_label:
        labels = rng.integers(2, size=(64, 3)).astype(float)
        labels[rng.random((64, 3)) < 0.3] = NAN
    loss = build_loss(asking(experiment, name, multi_label))
    found = loss(torch.from_numpy(logits).float(), torch.from_numpy(labels).float())
    assert found.dtype == torch.float32
    expected = by_hand(name, logits, labels, multi_label)
    assert found.tolist() == pytest.approx(expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("size", [1e-30, 30.0, 1e4, 1e30])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_and_its_gradient_are_finite_at_any_logit(
    name: str, multi_label: bool, size: float, experiment: Experiment
) -> None:
    """A gradient that is not finite counts as zero under privacy, and ends a run without."""
    logits = size * torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, 1.0], [0.0, 0.0, -1.0]])
    logits.requires_grad_()
    labels = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    loss = build_loss(asking(experiment, name, multi_label))(logits, labels)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert gradient.isfinite().all()


def test_under_privacy_no_loss_goes_by_a_sites_own_counts(
    make_site: Callable[..., Site], experiment: Experiment
) -> None:
    site = make_site(dict.fromkeys(train_ids(7), 1))
    for name in ("class_balanced", "logit_adjusted"):
        asked = replace(experiment, loss=LossSettings(name))  # type: ignore[arg-type]
        with pytest.raises(PrivacyError, match=f"loss={name} .* loss.priors"):
            build_loss(asked)
        cohort = Cohort.load(site, experiment, "train")
        counts = Frequencies.counted(cohort)
        positives = cohort.labels[cohort.rows].sum(axis=0)
        assert counts.shares.tolist() == pytest.approx((positives + 1) / 9)
        given = replace(asked.loss, priors=dict(zip("ab", counts.shares, strict=True)))
        public = build_loss(replace(asked, loss=replace(given, prior_images=7)))
        assert_equal(build_loss(asked, cohort), public)


def assert_equal(one: Loss, other: Loss) -> None:
    logits, labels = torch.randn(4, 2), torch.eye(2)[[0, 1, 1, 0]]
    torch.testing.assert_close(one(logits, labels), other(logits, labels))


def test_an_absent_class_has_a_finite_prior() -> None:
    labels = np.array([[1, NAN], [1, NAN]], np.float32)
    images = np.zeros((2, 1, 1, 1), np.uint8)
    counted = Frequencies.counted(Cohort(images, labels, np.arange(2), ()))
    assert counted.shares.tolist() == [0.75, 0.5]
    assert counted.images.tolist() == [2, 1]  # an unknown label makes no class more frequent


def test_a_class_that_no_image_knows_weighs_alike_on_either_side() -> None:
    labels = np.array([[1, NAN], [0, NAN], [0, NAN]], np.float32)
    images = np.zeros((3, 1, 1, 1), np.uint8)
    counted = Frequencies.counted(Cohort(images, labels, np.arange(3), ()))
    weights = class_balanced_weights(counted, 0.999, multi_label=True)
    assert weights[:, 1].tolist() == [1, 1]
    assert weights[1, 0] > 1 > weights[0, 0] > 0


def test_an_unknown_label_counts_for_nothing_and_the_mean_is_over_the_known() -> None:
    logits = torch.tensor([[0.0, 3.0, -2.0], [1.0, 1.0, 1.0]])
    labels = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, NAN]])
    loss = loss_per_image(logits, labels, multi_label=True)
    by_hand = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    assert loss.tolist() == [pytest.approx(by_hand), 0.0]
    changed = loss_per_image(logits + torch.tensor([0.0, 9.0, 0.0]), labels, multi_label=True)
    assert torch.equal(loss, changed)


@pytest.mark.parametrize("name", NAMES)
def test_an_images_gradient_is_the_same_whatever_is_unknown_of_the_others(
    name: str, experiment: Experiment
) -> None:
    """Else one patient's labels would change what another contributes to a clipped sum."""
    torch.manual_seed(0)
    loss = build_loss(asking(experiment, name, multi_label=True))
    images = torch.randn(3, 4, requires_grad=True)

    def gradients(labels: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        layer = nn.Linear(4, 3)
        model = GradSampleModule(layer, loss_reduction="sum")
        loss(model(images), labels).sum().backward()
        found = layer.weight.grad_sample
        assert isinstance(found, torch.Tensor)
        return found

    labels = torch.tensor([[1.0, 0.0, NAN], [0.0, 1.0, 1.0], [1.0, NAN, 0.0]])
    first = gradients(labels)
    assert first.isfinite().all()
    assert (first[0, 2] == 0).all()  # nothing is known of that class
    labels[1:] = NAN
    second = gradients(labels)
    assert torch.equal(first[0], second[0])
    assert (second[1:] == 0).all()
