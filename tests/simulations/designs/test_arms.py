"""The runs beside a federation: the same steps, and settings that their own strategy reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.checks import check_settings
from common.config import Settings
from common.errors import SettingsError
from server.strategies import STRATEGIES
from simulations.designs.arms import arms_of, pooled

SHARING = [name for name in STRATEGIES.names() if name not in ("fedbn", "local")]
OWN = {
    "fedprox": ["strategy.proximal=0.3"],
    "ditto": ["strategy.proximal=0.3"],
    "fedadam": ["strategy.adaptivity=0.01", "strategy.second_momentum=0.9"],
    "median": ["strategy.byzantine=2"],
}
"""Settings that the strategies of the other arms do not read."""


@pytest.mark.parametrize("design", ["cross_site", "leave_one_site_out"])
@pytest.mark.parametrize("name", SHARING)
def test_no_arm_contradicts_itself(
    settings: Callable[..., Settings], name: str, design: str
) -> None:
    whole = settings(f"design={design}", f"strategy={name}", "quorum=2", *OWN.get(name, []))
    arms = arms_of(whole, ["a", "b"])
    assert [check_settings(arm) for arm in arms.values()] == [[]] * len(arms)
    steps = whole.rounds * whole.local_steps
    times = {"pooled": 2}
    for key, arm in arms.items():
        assert arm.rounds * arm.local_steps == times.get(key, 1) * steps
        assert arm.strategy.learning_rate == whole.strategy.learning_rate


@pytest.mark.parametrize("name", ["fedbn", "local"])
def test_a_design_needs_a_shared_model(settings: Callable[..., Settings], name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} has none: take another"):
        settings("design=cross_site", f"strategy={name}")


def test_only_an_optimiser_without_memory_keeps_its_rounds(
    settings: Callable[..., Settings],
) -> None:
    plain = ["strategy.optimizer=sgd", "strategy.momentum=0", "rounds=3", "local_steps=2"]
    arms = arms_of(settings("design=cross_site", *plain), ["a", "b"])
    assert [(arm.rounds, arm.local_steps) for arm in arms.values()] == [(3, 2), (3, 4)]
    arms = arms_of(settings("design=cross_site", *plain, "strategy.momentum=0.9"), ["a", "b"])
    assert [(arm.rounds, arm.local_steps) for arm in arms.values()] == [(1, 6), (1, 12)]


@pytest.mark.parametrize("given", ["42", "{northfield:50,southgate:34}"])
def test_a_pool_declares_the_patients_of_all_sites(
    settings: Callable[..., Settings], given: str
) -> None:
    words = ["privacy=patient", "privacy.epsilon=8", f"privacy.public_patients={given}"]
    arm = pooled(settings(*words, "quorum=2"), 2)
    assert arm.privacy.public_patients == 84
    assert arm.quorum is None
