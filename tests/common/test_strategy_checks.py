"""Contradictions in a strategy's settings, all of them together."""

from __future__ import annotations

from typing import Any

import pytest

from common.checks import parse_experiment
from common.compose import load_settings
from common.config import PrivacyTarget, StrategySettings
from common.errors import SettingsError
from common.strategy_checks import READ_BY, check_strategy
from server.strategies import STRATEGIES
from tests.conftest import EXPERIMENT

NONE = PrivacyTarget(unit="none")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"name": "fedprox"}, "fedprox needs strategy.proximal above 0"),
        ({"name": "ditto"}, "ditto needs strategy.proximal above 0"),
        ({"proximal": 0.1}, "strategy.proximal=0.1 is read by fedprox, ditto alone"),
        ({"byzantine": 2}, "is read by median"),
        ({"name": "median", "byzantine": 0}, "strategy.byzantine: expected at least 1"),
        ({"name": "fedadam", "adaptivity": 0.0}, "strategy.adaptivity: expected above 0"),
        ({"name": "fedadam", "second_momentum": 1.0}, "second_momentum: expected in [0, 1)"),
        ({"name": "fedavgm", "second_momentum": 0.5}, "is read by fedadam, fedyogi alone"),
        ({"name": "fedprox", "proximal": -1.0}, "strategy.proximal: expected at least 0"),
        ({"name": "fedavgm", "server_learning_rate": float("inf")}, "expected above 0, got inf"),
        ({"learning_rate": float("nan")}, "strategy.learning_rate: expected above 0, got nan"),
        ({"batch_size": 0}, "strategy.batch_size: expected at least 1"),
    ],
)
def test_a_contradiction_is_named(settings: dict[str, Any], found: str) -> None:
    (problem,) = check_strategy(StrategySettings(**settings), NONE)
    assert found in problem


def test_scaffold_says_all_that_it_needs() -> None:
    problems = "\n".join(check_strategy(StrategySettings(name="scaffold"), NONE))
    for needed in ("optimizer=sgd", "momentum=0.0", "weight_decay=0.0"):
        assert f"scaffold needs strategy.{needed}" in problems
    plain = StrategySettings(name="scaffold", optimizer="sgd", momentum=0.0, weight_decay=0.0)
    assert check_strategy(plain, NONE) == []


def test_fedbn_under_privacy_is_refused_by_name_here_and_at_a_site() -> None:
    with pytest.raises(SettingsError, match=r"strategy\.name=fedbn"):
        load_settings(["strategy=fedbn"])
    assert load_settings(["strategy=fedbn", "privacy=none"]).strategy.name == "fedbn"
    asked = EXPERIMENT.replace("{batch_size: 4}", "{name: fedbn}")
    with pytest.raises(SettingsError, match=r"strategy\.name=fedbn"):
        parse_experiment(asked)


def test_every_strategy_and_setting_named_here_exists() -> None:
    """``common`` cannot import ``server``, so the names are compared here."""
    assert {name for readers in READ_BY.values() for name in readers} <= set(STRATEGIES.names())
    assert set(READ_BY) <= set(StrategySettings.__dataclass_fields__)
