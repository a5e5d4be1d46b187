"""Aggregation maths."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import SettingsError
from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies import STRATEGIES, FedAvg, Local
from server.strategies.fedavg import weighted_mean


def model(*values: float) -> Arrays:
    return {"w": np.array(values, np.float32)}


def answer(site: str, weight: float, *values: float) -> TrainAnswer:
    return TrainAnswer(site, "run", 1, model(*values), weight)


def test_the_mean_is_weighted() -> None:
    mean = weighted_mean([model(1, 0), model(4, 8)], [1, 3])
    assert mean["w"].tolist() == [3.25, 6.0]
    assert mean["w"].dtype == np.float32


def test_the_sum_is_taken_in_float64() -> None:
    """In float32, 1 is lost beside 1e8 and the mean would be 0."""
    mean = weighted_mean([model(1e8), model(1), model(-1e8)], [1, 1, 1])
    assert mean["w"][0] == pytest.approx(1 / 3, abs=1e-6)


def test_equal_models_stay_as_they_are() -> None:
    one = {"w": np.random.default_rng(0).normal(size=100).astype(np.float32)}
    np.testing.assert_allclose(weighted_mean([one] * 5, [7, 1, 3, 2, 9])["w"], one["w"], rtol=1e-7)


def test_fedavg_has_one_model_for_all() -> None:
    strategy = FedAvg()
    models = strategy.initial_models(model(0, 0), ["a", "b"])
    assert strategy.model_for("a") == strategy.model_for("b") == next(iter(models))
    after = strategy.aggregate_train(models, [answer("a", 1, 1, 1), answer("b", 1, 3, 5)])
    assert after["shared"]["w"].tolist() == [2, 3]
    assert models["shared"]["w"].tolist() == [0, 0]


def test_local_models_never_mix() -> None:
    strategy = Local()
    models = strategy.initial_models(model(0), ["a", "b"])
    after = strategy.aggregate_train(models, [answer("a", 1, 5)])
    assert {name: m["w"].tolist() for name, m in after.items()} == {"a": [5], "b": [0]}


def test_registry() -> None:
    assert STRATEGIES.names() == ["fedavg", "local"]
    with pytest.raises(SettingsError, match="did you mean 'fedavg'"):
        STRATEGIES.get("fedavgg")
    with pytest.raises(SettingsError, match="two things"):
        STRATEGIES.register("local")(Local)
