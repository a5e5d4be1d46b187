"""The site's policy wins: the server can ask for less, never for more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client.policy import Policy
from common.config import Experiment
from common.errors import PolicyError, SettingsError
from common.schema import build

STRICT = Policy(
    "none", public_patients=20, epsilon_max=8.0, delta=1e-3, min_noise_multiplier=0.8,
    max_grad_norm=0.05, models=("cnn",),
)  # fmt: skip


def asking(experiment: Experiment, **changes: object) -> Experiment:
    return replace(experiment, privacy=replace(experiment.privacy, **changes))  # type: ignore[arg-type]


def test_what_keeps_to_the_policy_passes(experiment: Experiment) -> None:
    STRICT.check(experiment)
    STRICT.check(asking(experiment, delta=1e-4, max_grad_norm=0.01, noise_multiplier=2.0))
    open_policy = Policy("none", train_without_privacy=True)
    open_policy.check(asking(experiment, unit="none", epsilon=None))


def test_training_without_privacy_is_off_unless_the_site_says_otherwise(
    experiment: Experiment,
) -> None:
    with pytest.raises(PolicyError, match="no ε bounds"):
        Policy("none").check(asking(experiment, unit="none", epsilon=None))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"unit": "none", "epsilon": None}, "training without privacy"),
        ({"delta": 1e-2}, "δ=0.01: at most 0.001"),
        ({"max_grad_norm": 0.1}, "C=0.1: at most 0.05"),
        ({"noise_multiplier": 0.5}, "σ=0.5: at least 0.8"),
    ],
)
def test_what_asks_for_more_is_refused_and_told_the_limit(
    experiment: Experiment, changes: dict[str, object], match: str
) -> None:
    with pytest.raises(PolicyError, match=match):
        STRICT.check(asking(experiment, **changes))


def test_everything_refused_is_named_at_once(experiment: Experiment) -> None:
    other = replace(experiment, model=replace(experiment.model, name="resnet18"))
    with pytest.raises(PolicyError, match=r"'resnet18': allowed are cnn; δ=0\.01.*; C=1"):
        STRICT.check(asking(other, delta=1e-2, max_grad_norm=1.0))


def test_what_may_be_released_must_be_said() -> None:
    with pytest.raises(SettingsError, match="'release_metrics' must be given"):
        build(Policy, {"public_patients": 20})


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"epsilon_max": 8.0}, "policy.delta must be given"),
        (
            {"release_metrics": "noised", "delta": 1e-5, "evaluation_epsilon": 1},
            "policy.public_patients must be given",
        ),
        ({"epsilon_max": -1.0, "delta": 1e-5}, "epsilon_max: expected above 0"),
        ({"delta": 1e-2, "public_patients": 100}, "at most 1 / (10 × public_patients) = 0.001"),
        ({"delta": 1.5}, "policy.delta: expected between"),
        ({"release_metrics": "noised", "delta": 1e-5}, "evaluation_epsilon must be given"),
        ({"public_patients": 0}, "public_patients: expected at least 1"),
        ({"evaluation_releases": -1}, "evaluation_releases: expected at least 0"),
    ],
)
def test_a_policy_that_contradicts_itself_is_named(values: dict[str, object], match: str) -> None:
    policy = build(Policy, {"release_metrics": "none", **values})
    assert any(match in line for line in policy.problems())
