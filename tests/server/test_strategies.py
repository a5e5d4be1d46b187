"""Aggregation maths, by hand and against Flower's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from common.checks import parse_experiment
from common.config import Experiment
from common.errors import SettingsError
from common.messages import TrainAnswer
from common.models import build_model, normalisation_names
from common.parameters import Arrays, arrays_of
from common.schedule import learning_rate, round_rates
from server.strategies import (
    STRATEGIES,
    Ditto,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedYogi,
    Local,
    Scaffold,
    StrategyState,
)
from server.strategies.fedavg import weighted_mean
from tests.conftest import EXPERIMENT

PLAIN = replace(parse_experiment(EXPERIMENT), privacy=replace(
    parse_experiment(EXPERIMENT).privacy, unit="none", epsilon=None
))  # fmt: skip


def asked(**strategy: object) -> Experiment:
    return replace(PLAIN, strategy=replace(PLAIN.strategy, **strategy))  # type: ignore[arg-type]


def model(*values: float) -> Arrays:
    return {"w": np.array(values, np.float32)}


def answer(site: str, weight: float, *values: float, number: int = 1) -> TrainAnswer:
    return TrainAnswer(site, "run", number, model(*values), weight)


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
    strategy = FedAvg(PLAIN)
    state = strategy.initial_state(model(0, 0), ["a", "b"])
    assert strategy.configure_train(state, "a") == strategy.configure_train(state, "b")
    after = strategy.aggregate_train(state, [answer("a", 1, 1, 1), answer("b", 1, 3, 5)])
    assert after.models["shared"]["w"].tolist() == [2, 3]
    assert state.models["shared"]["w"].tolist() == [0, 0]


def test_local_models_never_mix_and_are_scored_everywhere() -> None:
    strategy = Local(PLAIN)
    state = strategy.initial_state(model(0), ["a", "b"])
    after = strategy.aggregate_train(state, [answer("a", 1, 5)])
    assert {name: m["w"].tolist() for name, m in after.models.items()} == {"a": [5], "b": [0]}
    both = ["a", "b"]
    assert strategy.validated(both, both) == {"personal": {"a": "a", "b": "b"}}
    assert strategy.tested(both, both) == {"a": {"a": "a", "b": "a"}, "b": {"a": "b", "b": "b"}}
    assert strategy.validated(both, ["b"]) == {"personal": {"b": "b"}}  # a never trained
    assert strategy.tested(both, ["b"]) == {"b": {"a": "b", "b": "b"}}


def test_momentum_at_the_server_by_hand() -> None:
    strategy = FedAvgM(asked(name="fedavgm", server_learning_rate=0.5, server_momentum=0.8))
    state = strategy.initial_state(model(1), ["a"])
    state = strategy.aggregate_train(state, [answer("a", 1, 3)])  # Δ = 2, m = 2, x = 1 + 1
    assert state.models["shared"]["w"].tolist() == [2]
    state = strategy.aggregate_train(state, [answer("a", 1, 1)])  # Δ = -1, m = 0.6, x = 2.3
    assert state.models["shared"]["w"][0] == pytest.approx(2.3)
    assert state.memory["momentum"]["w"][0] == pytest.approx(0.6)


@pytest.mark.parametrize("kind", [FedAdam, FedYogi])
def test_adaptive_steps_follow_a_slow_loop(kind: type[FedAdam] | type[FedYogi]) -> None:
    """Each weight by itself in Python's own floats, three rounds of two sites."""
    rng = np.random.default_rng(3)
    rate, beta1, beta2, tau = 0.1, 0.7, 0.9, 0.01
    strategy = kind(
        asked(
            name="fedadam", server_learning_rate=rate, server_momentum=beta1,
            second_momentum=beta2, adaptivity=tau,
        )
    )  # fmt: skip
    start = rng.normal(size=5)
    state = strategy.initial_state(model(*start), ["a", "b"])
    x, m, v = start.tolist(), [0.0] * 5, [tau**2] * 5
    for _ in range(3):
        a, b = rng.normal(size=(2, 5))
        state = strategy.aggregate_train(state, [answer("a", 1, *a), answer("b", 3, *b)])
        for i in range(5):
            change = (a[i] + 3 * b[i]) / 4 - x[i]
            m[i] = beta1 * m[i] + (1 - beta1) * change
            if kind is FedAdam:
                v[i] = beta2 * v[i] + (1 - beta2) * change**2
            elif v[i] > change**2:
                v[i] -= (1 - beta2) * change**2
            else:
                v[i] += (1 - beta2) * change**2
            x[i] += rate * m[i] / (v[i] ** 0.5 + tau)
    np.testing.assert_allclose(state.models["shared"]["w"], x, rtol=1e-5)
    np.testing.assert_allclose(state.memory["second_moment"]["w"], v, rtol=1e-5)


def quadratic(
    state: StrategyState,
    strategy: FedAvg | Scaffold,
    rounds: int,
    missed: Mapping[int, str] = MappingProxyType({}),
    leaves: int = 0,
) -> float:
    """Two sites with ½ aₖ (w − bₖ)² take ten steps a round, by the site's own formula.

    ``missed`` says who has no answer in a round. A third, far from both, trains in the rounds
    before ``leaves``, and then no more.
    """
    curvature = {"a": 1.0, "b": 9.0, "c": 1.0}
    centre, weights = {"a": 0.0, "b": 1.0, "c": -20.0}, {"a": 3.0, "b": 1.0, "c": 2.0}
    for number in range(1, rounds + 1):
        if number == leaves:
            state = strategy.without(state, ["c"])
        answers = []
        for site in ("a", "b", "c"):
            if missed.get(number) == site or (site == "c" and number >= leaves):
                continue
            sent = strategy.configure_train(state, site)
            y = float(sent.arrays["w"][0])
            pull = 0.0 if sent.correction is None else float(sent.correction["w"][0])
            for rate in round_rates(strategy.experiment, number):
                y -= rate * (curvature[site] * (y - centre[site]) + pull)
            answers.append(answer(site, weights[site], y, number=number))
        state = strategy.aggregate_train(state, answers)
    return float(state.models["shared"]["w"][0])


def test_scaffold_finds_the_common_minimum_that_fedavg_misses() -> None:
    """Σ pₖ aₖ (w − bₖ) = 0 at w = 0.75, for weights 3 and 1: the weighted objective's."""
    settings = {
        "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant",
        "learning_rate": 0.05,
    }  # fmt: skip
    experiment = replace(asked(name="scaffold", **settings), local_steps=10, rounds=200)
    scaffold, fedavg = Scaffold(experiment), FedAvg(experiment)
    start = model(0)
    found = quadratic(scaffold.initial_state(start, ["a", "b"]), scaffold, 200)
    assert found == pytest.approx(0.75, abs=1e-3)
    for missed in ({1: "a"}, {1: "b", 7: "a"}):  # c is still the mean of all once they are back
        again = quadratic(scaffold.initial_state(start, ["a", "b"]), scaffold, 200, missed)
        assert again == pytest.approx(0.75, abs=1e-3)
    for leaves in (1, 9):  # a site that will not train any more pulls no longer
        state = scaffold.initial_state(start, ["a", "b", "c"])
        assert quadratic(state, scaffold, 200, leaves=leaves) == pytest.approx(0.75, abs=1e-3)
    drifted = quadratic(fedavg.initial_state(start, ["a", "b"]), fedavg, 200)
    assert abs(drifted - 0.75) > 0.1


def test_a_control_variate_is_the_mean_gradient_at_the_rates_that_were_taken() -> None:
    """One site, alone, under a cosine: (x − y) / Σ η; the next round's sum is another."""
    experiment = asked(
        name="scaffold", optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.5
    )
    strategy = Scaffold(experiment)
    state = strategy.initial_state(model(2), ["a", "b"])
    first, second = (sum(round_rates(experiment, n)) for n in (1, 2))
    assert second < first < experiment.local_steps * 0.5
    state = strategy.aggregate_train(state, [answer("a", 1, 1)])
    assert state.memory["control-a"]["w"][0] == pytest.approx(1 / first)
    assert state.memory["control"]["w"][0] == pytest.approx(1 / first)
    sent = strategy.configure_train(state, "b").correction
    assert sent is not None
    assert sent["w"][0] == 0  # b was not heard yet
    state = strategy.aggregate_train(state, [answer("b", 3, 0, number=2)])
    own = 1 / second
    sent = strategy.configure_train(state, "b").correction
    assert sent is not None
    assert sent["w"][0] == pytest.approx((1 / first + 3 * own) / 4 - own)  # c − cₖ
    assert state.memory["control-b"]["w"][0] == pytest.approx(own)
    assert state.memory["control"]["w"][0] == pytest.approx((1 / first + 3 * own) / 4)


def test_the_schedule_is_a_cosine_over_the_run() -> None:
    strategy = asked(learning_rate=2.0).strategy
    rates = [learning_rate(strategy, step, 4) for step in range(5)]
    np.testing.assert_allclose(rates, [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 0], atol=1e-12)


def test_fedbn_keeps_normalisation_apart_and_averages_the_rest() -> None:
    experiment = asked(name="fedbn")
    strategy = FedBN(experiment)
    arrays = arrays_of(build_model(experiment))
    state = strategy.initial_state(arrays, ["a", "b", "c"])
    moved = {s: {k: v + d for k, v in arrays.items()} for s, d in (("a", 1), ("b", 2))}
    answers = [TrainAnswer(s, "run", 1, m, 1.0) for s, m in moved.items()]
    after = strategy.aggregate_train(state, answers)
    own = normalisation_names(build_model(experiment))
    assert {n.rsplit(".", 1)[0] for n in own} == {f"backbone.features.{i}.1" for i in range(4)}
    for name, value in arrays.items():
        for site, moved_by in (("a", 1), ("b", 2), ("c", 1.5)):  # c did not answer
            expected = value + (moved_by if name in own else 1.5)
            np.testing.assert_allclose(after.models[site][name], expected, rtol=1e-6)
    later = strategy.aggregate_train(after, answers[:1])  # b missed a round: it keeps its own
    for name in own:
        np.testing.assert_array_equal(later.models["b"][name], after.models["b"][name])
        np.testing.assert_array_equal(later.models["c"][name], later.models["a"][name])
    assert strategy.tested(["a", "b"], ["a"]) == {"personal": {"a": "a", "b": "b"}}


def test_fedbn_without_normalisation_is_refused() -> None:
    experiment = replace(asked(name="fedbn"), model=replace(PLAIN.model, name="wsnet"))
    with pytest.raises(SettingsError, match="wsnet has no normalisation"):
        FedBN(experiment)


def test_ditto_keeps_each_site_its_own_model() -> None:
    strategy = Ditto(asked(name="ditto", proximal=0.1))
    state = strategy.initial_state(model(0), ["a", "b"])
    answers = [
        replace(answer("a", 1, 4), personal=model(9)),
        replace(answer("b", 1, 2), personal=model(7)),
    ]
    after = strategy.aggregate_train(state, answers)
    values = {name: m["w"][0] for name, m in after.models.items()}
    assert values == {"shared": 3, "personal-b": 7, "personal-a": 9}
    sent = strategy.configure_train(after, "b")
    assert sent.arrays["w"][0] == 3
    assert sent.personal is not None
    assert sent.personal["w"][0] == 7
    assert strategy.validated(["a", "b"], ["b"]) == {
        "shared": {"a": "shared", "b": "shared"}, "personal": {"b": "personal-b"}
    }  # fmt: skip


def test_registry() -> None:
    assert STRATEGIES.names() == [
        "ditto", "fedadam", "fedavg", "fedavgm", "fedbn", "fedprox", "fedyogi",
        "geometric_median", "krum", "local", "median", "multi_krum", "scaffold", "trimmed_mean",
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="did you mean 'fedavg'"):
        STRATEGIES.get("fedavgg")
    with pytest.raises(SettingsError, match="two things"):
        STRATEGIES.register("local")(Local)
