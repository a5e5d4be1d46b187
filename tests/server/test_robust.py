"""Robust rules: by hand, against Flower's, and the bounds that they refuse to work beyond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum

from common.errors import JoinError
from common.messages import TrainAnswer
from common.parameters import Arrays
from server.strategies import STRATEGIES, GeometricMedian, Krum, Median, MultiKrum, TrimmedMean
from server.strategies.geometric_median import geometric_median
from server.strategies.krum import ranking, scores
from server.strategies.robust import Robust, Rows, from_row, to_rows
from server.strategies.trimmed_mean import trimmed_mean
from tests.server.test_strategies import asked

RULES = {
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "geometric_median": GeometricMedian,
}


def rows(*values: float) -> Rows:
    return np.array(values, dtype=np.float64)[:, None]


def rule(name: str, byzantine: int = 1) -> Robust:
    made = STRATEGIES.get(name)(asked(name=name, byzantine=byzantine))
    assert isinstance(made, Robust)
    return made


@pytest.mark.parametrize(
    ("name", "expected"),
    [("median", 2.0), ("trimmed_mean", 8 / 3), ("krum", 1.5), ("multi_krum", 1.25)],
)
def test_a_rule_on_one_weight_by_hand(name: str, expected: float) -> None:
    """Krum, f = 1, n = 5: scores over the two nearest of 1, 1.5, 2, 4.5, 1e6."""
    combined = rule(name).combine(rows(1, 1.5, 2, 4.5, 1e6))
    assert combined[0] == pytest.approx(expected)


def test_krums_scores_by_hand() -> None:
    found = scores(rows(0, 1, 3, 3.5, 10), byzantine=1)  # n − f − 2 = 2 nearest
    assert found.tolist() == [1 + 9, 1 + 4, 0.25 + 4, 0.25 + 6.25, 42.25 + 49]
    assert ranking(rows(0, 1, 3, 3.5, 10), 1).tolist() == [2, 1, 3, 0, 4]


def test_trimming_and_choosing_agree_with_flowers() -> None:
    rng = np.random.default_rng(0)
    for n, f in ((5, 1), (9, 2), (12, 3)):
        values = rng.normal(size=(n, 6))
        np.testing.assert_allclose(
            trimmed_mean(values, f), trim_mean(values, (f + 0.5) / n), rtol=1e-12
        )
        contents = [RecordDict({"arrays": ArrayRecord({"w": Array(v)})}) for v in values]
        for taken in (1, n - f - 2):
            chosen = select_multikrum(contents, f, taken)
            ours = ranking(values, f)[:taken]
            assert [contents.index(c) for c in chosen] == ours.tolist()


def test_the_geometric_median_is_where_no_step_shortens_the_distances() -> None:
    """Against a search on a fine grid; of a triangle with a wide angle it is the corner there."""
    points = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0], [2.0, 2.0]])
    found = geometric_median(points)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 4, 401)] * 2), axis=-1).reshape(-1, 2)
    sums = np.linalg.norm(grid[:, None] - points[None], axis=2).sum(axis=1)
    own = np.linalg.norm(points - found, axis=1).sum()
    assert own <= sums.min() + 1e-6
    corner = geometric_median(np.array([[0.0, 0.0], [10.0, 1.0], [-10.0, 1.0]]))
    np.testing.assert_allclose(corner, [0, 0], atol=1e-3)


def test_how_far_a_lie_is_does_not_end_the_search_for_the_geometric_median() -> None:
    honest = np.random.default_rng(1).normal(1.0, 0.1, size=(6, 40))
    near, far = (
        geometric_median(np.vstack([honest, np.full((1, 40), lie)])) for lie in (1e4, 1e12)
    )
    spread = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.linalg.norm(near - far) < 1e-3 * spread


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("lie", [1e30, -1e6, 3.0, 0.0])
def test_one_answer_that_may_be_anything_leaves_the_others_range(name: str, lie: float) -> None:
    """Within its bound a rule stays near the honest answers; their mean does not."""
    rng = np.random.default_rng(1)
    honest = rng.normal(1.0, 0.1, size=(6, 40))
    combined = rule(name).combine(np.vstack([honest, np.full((1, 40), lie)]))
    spread = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    assert np.linalg.norm(combined - honest.mean(axis=0)) <= 2 * spread


@pytest.mark.parametrize(
    ("name", "byzantine", "least"),
    [("median", 1, 3), ("trimmed_mean", 2, 5), ("geometric_median", 3, 7), ("krum", 1, 5),
     ("multi_krum", 2, 7)],
)  # fmt: skip
def test_fewer_sites_than_the_bound_holds_for_are_refused(
    name: str, byzantine: int, least: int
) -> None:
    made = rule(name, byzantine)
    made.check_sites(least)
    assert made.least_sites == least
    with pytest.raises(JoinError, match=f"at least {least} sites that train, and there are"):
        made.check_sites(least - 1)


def test_weights_that_sites_state_count_for_nothing() -> None:
    answers = [TrainAnswer(s, "run", 1, {"w": np.array([v], np.float32)}, 1.0)
               for s, v in zip("abcde", (1, 2, 3, 4, 5), strict=True)]  # fmt: skip
    for name in RULES:
        made = rule(name)
        state = made.initial_state({"w": np.zeros(1, np.float32)}, list("abcde"))
        heavy = [*answers[:-1], replace(answers[-1], num_examples=1e7)]
        assert made.aggregate_train(state, answers) == made.aggregate_train(state, heavy)


def test_a_row_is_a_model_and_back() -> None:
    model: Arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.array(7, dtype=np.float32),
    }
    other: Arrays = {"a": model["a"] + 1, "b": model["b"] + 1}  # another order of names
    found = to_rows([model, other])
    assert found.tolist() == [[0, 1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 5, 6, 8]]
    back = from_row(found[1], model)
    assert all(np.array_equal(back[k], other[k]) and back[k].dtype == np.float32 for k in model)
