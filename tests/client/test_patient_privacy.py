"""One patient moves the clipped sum by at most C, whatever it brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from client.cohort import Cohort
from client.entries import Charge
from client.loss import Loss
from client.privacy import gradients, training
from client.privacy.entropy import SecretStream
from client.privacy.gradients import FillGradients, patient_gradients
from client.privacy.optimizer import PatientOptimizer
from client.privacy.sampling import poisson_batches
from client.site import Site
from common.config import Experiment, Precision
from common.errors import PrivacyError
from common.models import build_model
from tests.conftest import train_ids

C = 0.05
LIMIT = C * (1 + 1e-5)
EVERYONE = Charge("patient", 1.0, 1.0, C, 1)


def clipped_sum(cohort: Cohort, experiment: Experiment) -> torch.Tensor:
    """The sum that ``train_private`` is about to add noise to, with everybody drawn (q = 1)."""
    seen: list[torch.Tensor] = []

    def capture(self: PatientOptimizer) -> None:
        seen.append(torch.cat([p.summed_grad.flatten().double() for p in self.params]))
        self.begin_step()

    with patch.object(PatientOptimizer, "noisy_step", capture):
        training.train_private(
            build_model(experiment, seed=0), cohort, experiment, EVERYONE, 1.0, 1
        )
    assert len(seen) == 1
    return seen[0]


def moved_by(make_site: Callable[..., Site], experiment: Experiment) -> float:
    """How far a patient with ten images moves the sum of six patients with one each."""
    others = dict.fromkeys(train_ids(6), 1)
    heavy = train_ids(1, prefix="HEAVY")[0]
    without = Cohort.load(make_site(others, "without"), experiment, "train")
    joined = Cohort.load(make_site({**others, heavy: 10}, "with"), experiment, "train")
    assert len(joined.rows) == len(without.rows) + 10
    difference = clipped_sum(joined, experiment) - clipped_sum(without, experiment)
    return float(difference.norm())


def asking(experiment: Experiment, **privacy: object) -> Experiment:
    return replace(experiment, privacy=replace(experiment.privacy, **privacy))


@pytest.mark.parametrize("clip", ["flat", "automatic"])
@pytest.mark.parametrize("views", [1, 4])
def test_ten_images_move_the_sum_by_at_most_c(
    make_site: Callable[..., Site], experiment: Experiment, views: int, clip: str
) -> None:
    experiment = asking(experiment, augmentations=views, clip=clip)
    assert 0.5 * C < moved_by(make_site, experiment) <= LIMIT


def test_the_check_fails_where_each_view_is_a_row(
    make_site: Callable[..., Site], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rows of their own, four views would cost what four images of a patient do."""

    @contextmanager
    def by_view(model: nn.Module, loss: Loss, _: Precision) -> Iterator[FillGradients]:
        with patient_gradients(model, loss) as fill:
            yield lambda inputs, labels, _: fill(inputs, labels, 1)

    monkeypatch.setattr(gradients, "patient_gradients", by_view)
    assert moved_by(make_site, asking(experiment, augmentations=4)) > 2 * LIMIT


def test_the_check_fails_with_a_loader_of_images(
    make_site: Callable[..., Site], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every_image(
        patients: tuple[NDArray[np.int64], ...], q: float, steps: int, stream: SecretStream
    ) -> Iterator[NDArray[np.int64]]:
        for _ in range(steps):
            yield np.concatenate(patients)

    monkeypatch.setattr(training, "poisson_batches", every_image)
    assert moved_by(make_site, experiment) > 2 * LIMIT


def test_the_check_fails_when_images_are_grouped_one_by_one(
    make_site: Callable[..., Site], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_by_one(site: Site, asked: Experiment, part: str) -> Cohort:
        cohort = load(site, asked, part)  # type: ignore[arg-type]
        return replace(cohort, patients=tuple(np.array([r]) for r in cohort.rows))

    load = Cohort.load
    monkeypatch.setattr(Cohort, "load", staticmethod(one_by_one))
    assert moved_by(make_site, experiment) > 2 * LIMIT


def test_the_check_fails_without_the_clip(
    make_site: Callable[..., Site], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_clip(self: PatientOptimizer) -> None:
        for p in self.params:
            p.summed_grad = p.summed_grad + p.grad_sample.sum(0)
            p.grad_sample = None

    monkeypatch.setattr(PatientOptimizer, "add_rows", no_clip)
    assert moved_by(make_site, experiment) > 2 * LIMIT


def test_a_logical_batch_larger_than_memory_gives_the_same_sum(
    make_site: Callable[..., Site], experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = Cohort.load(make_site(dict.fromkeys(train_ids(7), 1)), experiment, "train")
    whole = clipped_sum(cohort, experiment)
    monkeypatch.setattr(gradients, "MAX_ROWS", 3)
    torch.testing.assert_close(clipped_sum(cohort, experiment), whole, atol=1e-6, rtol=1e-5)


def test_a_patient_gives_at_most_one_row_to_a_step_and_each_of_its_images_in_turn() -> None:
    patients = [np.arange(10 * i, 10 * i + 1 + i % 3) for i in range(50)]
    owner = {row: i for i, rows in enumerate(patients) for row in rows.tolist()}
    sizes, seen = [], set()
    for batch in poisson_batches(patients, 0.3, 400, SecretStream()):
        drawn = [owner[row] for row in batch.tolist()]
        assert len(set(drawn)) == len(drawn)
        sizes.append(len(drawn))
        seen |= set(batch.tolist())
    assert seen == set(owner)
    # binomial(50, 0.3): mean 15, standard deviation 3.24
    assert np.mean(sizes) == pytest.approx(15, abs=0.7)
    assert np.std(sizes) == pytest.approx(3.24, abs=0.5)


def optimizer_over(parameter: nn.Parameter, sigma: float, denominator: float) -> PatientOptimizer:
    return PatientOptimizer(
        torch.optim.SGD([parameter], lr=1.0),
        noise_multiplier=sigma,
        max_grad_norm=2.0,
        denominator=denominator,
        stream=SecretStream(),
    )


def test_the_noise_has_the_level_that_was_promised() -> None:
    """Over 1e6 coordinates the standard deviation is σC / denominator to within 0.4%."""
    parameter = nn.Parameter(torch.zeros(1_000_000))
    optimizer_over(parameter, sigma=1.5, denominator=10.0).noisy_step()
    noise = parameter.detach().double()
    assert float(noise.std()) == pytest.approx(1.5 * 2.0 / 10.0, rel=0.004)
    assert abs(float(noise.mean())) < 4 * 0.3 / 1000


def test_empty_steps_are_noised_and_counted(
    make_site: Callable[..., Site], experiment: Experiment
) -> None:
    """With q = 1e-6 every batch is empty, the first one too; each step still adds its noise."""
    cohort = Cohort.load(make_site(dict.fromkeys(train_ids(3), 1)), experiment, "train")
    charge = Charge("patient", 1e-6, 1.0, C, 100)
    noises: list[float] = []
    original = PatientOptimizer.add_noise

    def counted(self: PatientOptimizer) -> None:
        assert all(not p.summed_grad.any() for p in self.params)
        original(self)
        noises.append(float(self.params[0].grad.std()))

    with patch.object(PatientOptimizer, "add_noise", counted):
        model = build_model(experiment, seed=0)
        longer = replace(experiment, local_steps=100)
        training.train_private(model, cohort, longer, charge, 4.0, 1)
    assert len(noises) == 100
    assert np.mean(noises) == pytest.approx(C, rel=0.1)  # σ = 1, before the division


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_a_row_that_is_not_finite_counts_as_zero(value: float) -> None:
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = optimizer_over(parameter, sigma=0.0, denominator=1.0)
    good = torch.tensor([0.3, 0.4, 0.0, 0.0])
    parameter.grad_sample = torch.stack([good, torch.full((4,), value)])  # type: ignore[attr-defined]
    optimizer.add_rows()
    torch.testing.assert_close(parameter.summed_grad, good)  # type: ignore[attr-defined]


def test_a_model_with_running_statistics_does_not_train(
    make_site: Callable[..., Site], experiment: Experiment
) -> None:
    cohort = Cohort.load(make_site(dict.fromkeys(train_ids(3), 1)), experiment, "train")
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(PrivacyError, match="GroupNorm"):
        training.train_private(model, cohort, experiment, EVERYONE, 4.0, 1)


def test_two_runs_share_no_noise(make_site: Callable[..., Site], experiment: Experiment) -> None:
    cohort = Cohort.load(make_site(dict.fromkeys(train_ids(3), 1)), experiment, "train")
    plain = replace(experiment.strategy, optimizer="sgd", learning_rate=1.0)
    experiment = replace(experiment, strategy=plain)
    models = [build_model(experiment, seed=0) for _ in range(2)]
    for model in models:
        charge = Charge("patient", 1e-6, 1.0, C, 3)
        training.train_private(model, cohort, experiment, charge, 4.0, 1)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert not torch.isclose(one, other, rtol=1e-6, atol=1e-9).all()  # of no one parameter
