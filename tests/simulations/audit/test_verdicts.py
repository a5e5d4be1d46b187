"""The right build is CONSISTENT; broken ones are a VIOLATION, and by the test one would expect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from client.privacy import optimizer, training
from client.privacy.entropy import SecretStream
from client.privacy.optimizer import PatientOptimizer
from client.privacy.sampling import poisson_batches
from common.errors import PrivacyError
from simulations.audit.audit import AuditResult
from tests.simulations.audit.conftest import Audit

Patch = pytest.MonkeyPatch
Patients = Sequence[NDArray[np.int64]]
Batches = Iterator[NDArray[np.int64]]

EMPTY, EACH, SUMMED = (
    "noise of an empty batch",
    "noise of each step",
    "noise summed over steps",
)
CURVE = "trade-off curve, every canary"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_right_build_is_consistent(audit: Audit, seed: int) -> None:
    started = time.monotonic()
    result = audit(seed)
    assert time.monotonic() - started < 60  # about 3 s; the rest is for a busy machine
    assert result.verdict == "CONSISTENT"
    assert not any(check.rejected for check in result.checks)
    assert result.gap.gap == pytest.approx(20, abs=3)
    for bound in result.bounds:  # none claims more than the ε that was planned
        assert bound.lower_bound < 7.9
        assert bound.lower_bound < bound.detectable
    for rate in result.membership:
        assert rate.true_positive_interval[0] < rate.allowed_at_most


def no_noise(patch: Patch) -> None:
    def silent(self: PatientOptimizer) -> None:
        for p in self.params:
            p.grad = p.summed_grad.clone()

    patch.setattr(PatientOptimizer, "add_noise", silent)


def half_the_noise(patch: Patch) -> None:
    add_noise = PatientOptimizer.add_noise

    def weaker(self: PatientOptimizer) -> None:
        sigma = self.noise_multiplier
        self.noise_multiplier = sigma / 2
        add_noise(self)
        self.noise_multiplier = sigma

    patch.setattr(PatientOptimizer, "add_noise", weaker)


def half_the_noise_asked_for(patch: Patch) -> None:
    """The optimiser is right; what the training hands it is not."""

    def asked(*args: Any, noise_multiplier: float, **rest: Any) -> PatientOptimizer:
        return PatientOptimizer(*args, noise_multiplier=noise_multiplier / 2, **rest)

    patch.setattr(optimizer, "PatientOptimizer", asked)


def twice_the_clip(patch: Patch) -> None:
    add_rows = PatientOptimizer.add_rows

    def looser(self: PatientOptimizer) -> None:
        clip = self.max_grad_norm
        self.max_grad_norm = 2 * clip
        add_rows(self)
        self.max_grad_norm = clip

    patch.setattr(PatientOptimizer, "add_rows", looser)


@pytest.mark.parametrize(
    ("mutant", "expected", "spared"),
    [
        (no_noise, {EMPTY, EACH, SUMMED, CURVE, "trade-off curve, 4096 guesses"}, set()),
        (half_the_noise, {EMPTY, EACH, SUMMED, CURVE}, set()),
        (half_the_noise_asked_for, {EACH, SUMMED, CURVE}, {EMPTY}),
        (twice_the_clip, {CURVE}, {EMPTY, EACH, SUMMED}),
    ],
)
def test_a_broken_build_of_the_same_size_is_a_violation(
    audit: Audit,
    monkeypatch: Patch,
    mutant: Callable[[Patch], None],
    expected: set[str],
    spared: set[str],
) -> None:
    mutant(monkeypatch)
    result = audit()
    assert result.verdict == "VIOLATION"
    assert expected <= rejected(result)
    assert not spared & rejected(result)
    assert p_value(result, CURVE) < 1e-6


def image_for_patient(patch: Patch) -> None:
    """Every image is drawn by itself, so a patient with three counts threefold."""

    def by_image(patients: Patients, q: float, steps: int, stream: SecretStream) -> Batches:
        images = [np.array([row]) for rows in patients for row in rows]
        return poisson_batches(images, q, steps, stream)

    patch.setattr(training, "poisson_batches", by_image)


def all_images_of_a_patient(patch: Patch) -> None:
    """A loader that gives every image of each patient drawn."""

    def whole(patients: Patients, q: float, steps: int, stream: SecretStream) -> Batches:
        for drawn in poisson_batches(
            [np.array([i]) for i in range(len(patients))], q, steps, stream
        ):
            yield np.concatenate([patients[i] for i in drawn] or [np.zeros(0, np.int64)])

    patch.setattr(training, "poisson_batches", whole)


def everybody_at_every_step(patch: Patch) -> None:
    """A loader without sampling."""

    def full(patients: Patients, q: float, steps: int, stream: SecretStream) -> Batches:
        return poisson_batches(patients, 1.0, steps, stream)

    patch.setattr(training, "poisson_batches", full)


def no_clip(patch: Patch) -> None:
    def add(self: PatientOptimizer) -> None:
        for p in self.params:
            p.summed_grad = p.summed_grad + p.grad_sample.sum(0)
            p.grad_sample = None

    patch.setattr(PatientOptimizer, "add_rows", add)


def noise_that_repeats(patch: Patch) -> None:
    """As loud as claimed at every step, and the same at each: the sum over steps tells."""
    stream = SecretStream()
    kept: dict[int, NDArray[np.float64]] = {}

    def repeat(_: SecretStream, count: int) -> NDArray[np.float64]:
        return kept.setdefault(count, fresh(stream, count))

    fresh = SecretStream.noise
    patch.setattr(SecretStream, "noise", repeat)


def sum_that_is_not_emptied(patch: Patch) -> None:
    """Gradients of earlier steps stay in the sum."""

    def begin_step(self: PatientOptimizer) -> None:
        for p in self.params:
            p.grad_sample = None
            if p.summed_grad is None:
                p.summed_grad = torch.zeros_like(p)

    patch.setattr(PatientOptimizer, "begin_step", begin_step)


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [
        (image_for_patient, CURVE),
        (all_images_of_a_patient, CURVE),
        (everybody_at_every_step, CURVE),
        (no_clip, CURVE),
        (noise_that_repeats, SUMMED),
        (sum_that_is_not_emptied, CURVE),
    ],
)
def test_other_broken_builds_are_a_violation_too(
    audit: Audit, monkeypatch: Patch, mutant: Callable[[Patch], None], expected: str
) -> None:
    mutant(monkeypatch)
    result = audit(canaries=2048)
    assert result.verdict == "VIOLATION"
    assert expected in rejected(result)


def test_images_for_patients_show_in_the_gap_of_those_with_several(
    audit: Audit, monkeypatch: Patch
) -> None:
    image_for_patient(monkeypatch)
    gap = audit(canaries=2048).gap
    assert gap.single == pytest.approx(20, abs=4)
    assert gap.several == pytest.approx(60, abs=8)


def test_a_step_too_many_is_refused(audit: Audit, monkeypatch: Patch) -> None:
    def longer(patients: Patients, q: float, steps: int, stream: SecretStream) -> Batches:
        return poisson_batches(patients, q, steps + 1, stream)

    monkeypatch.setattr(training, "poisson_batches", longer)
    with pytest.raises(PrivacyError, match="took 201 steps where 200"):
        audit(canaries=256)


def rejected(result: AuditResult) -> set[str]:
    return {check.name for check in result.checks if check.rejected}


def p_value(result: AuditResult, name: str) -> float:
    return next(check.p_value for check in result.checks if check.name == name)
