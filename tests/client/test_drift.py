"""FedProx's and SCAFFOLD's terms: what they add, and that they add it after clip and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from client.cohort import Cohort
from client.drift import Drift
from client.entries import Charge
from client.privacy.training import train_private
from client.site import Site
from client.training import build_optimizer, train_plain
from common.config import Experiment
from common.errors import ModelError
from common.models import build_model
from common.parameters import Arrays, arrays_of
from tests.conftest import train_ids

NOBODY = Charge("patient", 1e-9, 1e-6, 1e-3, 1)
"""One step on an empty batch, with C = 1e-3 and next to no noise."""


def sgd(experiment: Experiment, **changes: object) -> Experiment:
    strategy = replace(
        experiment.strategy, optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.1,
        schedule="constant", **changes,
    )  # fmt: skip
    return replace(experiment, strategy=strategy)


def moved(model: nn.Module, value: float) -> Arrays:
    return {name: array + np.float32(value) for name, array in arrays_of(model).items()}


def test_a_step_by_hand() -> None:
    """g = 1, μ (w − w₀) = 0.5 (3 − 1), c − cₖ = −4: w ← 3 − 0.1 (1 + 1 − 4)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)
    drift = Drift.of(
        0.5,
        {"weight": np.array([[1]], np.float32)},
        {"weight": np.array([[-4]], np.float32)},
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    drift.attach(optimizer, model)
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(3.2)


@pytest.fixture
def cohort(make_site: Callable[..., Site], experiment: Experiment) -> Cohort:
    return Cohort.load(make_site(dict.fromkeys(train_ids(3), 1)), experiment, "train")


@pytest.mark.parametrize("kind", ["proximal", "correction"])
def test_under_privacy_the_term_is_added_after_the_clip_and_the_division(
    kind: str, cohort: Cohort, experiment: Experiment
) -> None:
    """Its size is 2 in every weight, where C = 1e-3 and the denominator is 4: it comes whole."""
    model = build_model(experiment, seed=0)
    before = arrays_of(model)
    drift = {
        "proximal": Drift.of(0.5, moved(model, -4.0)),
        "correction": Drift.of(0.0, before, {k: np.full_like(v, 2.0) for k, v in before.items()}),
    }[kind]
    train_private(model, cohort, sgd(experiment), NOBODY, 4.0, 1, drift)
    for name, value in arrays_of(model).items():
        np.testing.assert_allclose(value, before[name] - 0.1 * 2.0, atol=1e-4)


def test_the_clipped_sum_is_the_same_with_the_term_and_without(
    cohort: Cohort, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from client.privacy.optimizer import PatientOptimizer

    sums: list[torch.Tensor] = []
    add_noise = PatientOptimizer.add_noise

    def captured(self: PatientOptimizer) -> None:
        sums.append(torch.cat([p.summed_grad.flatten() for p in self.params]))
        add_noise(self)

    monkeypatch.setattr(PatientOptimizer, "add_noise", captured)
    for drift in (None, Drift.of(10.0, moved(build_model(experiment, seed=0), 1.0))):
        everyone = Charge("patient", 1.0, 1e-6, 0.05, 1)
        train_private(build_model(experiment, seed=0), cohort, experiment, everyone, 4.0, 1, drift)
    assert float(sums[0].norm()) > 0.01
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-5, atol=1e-6)


def test_without_privacy_the_term_is_that_of_the_losss_gradient(
    cohort: Cohort, experiment: Experiment
) -> None:
    """One SGD step: the two runs differ by η μ (w₀' − w) alone."""
    one = replace(sgd(experiment), local_steps=1, rounds=1)
    plain, held = (build_model(experiment, seed=0) for _ in range(2))
    anchor = moved(held, 3.0)
    train_plain(plain, cohort, one, "clinic", 1)
    train_plain(held, cohort, one, "clinic", 1, Drift.of(0.7, anchor))
    for name, value in arrays_of(held).items():
        np.testing.assert_allclose(value, arrays_of(plain)[name] + 0.1 * 0.7 * 3.0, atol=1e-5)


def test_a_proximal_term_holds_a_site_near_the_model_it_was_sent(
    cohort: Cohort, experiment: Experiment
) -> None:
    longer = replace(sgd(experiment), local_steps=20, rounds=1)
    travelled = []
    for proximal in (0.0, 1.0, 8.0):
        model = build_model(experiment, seed=0)
        sent = arrays_of(model)
        train_plain(model, cohort, longer, "clinic", 1, Drift.of(proximal, sent))
        after = arrays_of(model)
        travelled.append(sum(float(((after[k] - sent[k]) ** 2).sum()) for k in sent))
    assert travelled[0] > travelled[1] > travelled[2] > 0


def test_a_correction_that_does_not_fit_the_model_is_refused(experiment: Experiment) -> None:
    sent = arrays_of(build_model(experiment))
    for wrong in (
        {k: v[..., :1] for k, v in sent.items()},
        {k: np.full_like(v, np.nan) for k, v in sent.items()},
        {"w": sent["head.bias"]},
    ):
        with pytest.raises(ModelError, match="do not fit"):
            Drift.of(0.0, sent, wrong)


def test_no_drift_is_no_hook(experiment: Experiment) -> None:
    optimizer = build_optimizer(build_model(experiment), experiment.strategy, Drift())
    assert not optimizer._optimizer_step_pre_hooks
