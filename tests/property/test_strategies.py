"""What every aggregation keeps, whatever the models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.strategies import STRATEGIES
from server.strategies.fedavg import weighted_mean
from server.strategies.robust import Robust, Rows
from tests.server.test_strategies import asked

RULES = ("median", "trimmed_mean", "krum", "multi_krum", "geometric_median")
models = arrays(np.float64, (7, 3), elements=st.floats(-100, 100, width=32))
weights = st.lists(st.floats(0.5, 1e6), min_size=7, max_size=7)


def combine(name: str, rows: Rows) -> Rows:
    rule = STRATEGIES.get(name)(asked(name=name, byzantine=2))
    assert isinstance(rule, Robust)
    return rule.combine(rows)


@given(models, weights)
def test_a_weighted_mean_lies_between_the_models_and_scales_with_no_weight(
    rows: Rows, shares: list[float]
) -> None:
    listed = [{"w": row} for row in rows]
    mean = weighted_mean(listed, shares)["w"]  # type: ignore[arg-type]
    assert (mean >= rows.min(axis=0) - 1e-9).all()
    assert (mean <= rows.max(axis=0) + 1e-9).all()
    again = weighted_mean(listed, [4 * share for share in shares])["w"]  # type: ignore[arg-type]
    np.testing.assert_allclose(again, mean, atol=1e-9)


@pytest.mark.parametrize("name", RULES)
@given(rows=models, order=st.permutations(range(7)), shift=st.floats(-10, 10, width=16))
def test_a_robust_rule_moves_with_its_answers_and_knows_no_order(
    name: str, rows: Rows, order: list[int], shift: float
) -> None:
    combined = combine(name, rows)
    assert (combined >= rows.min(axis=0) - 1e-6).all()
    assert (combined <= rows.max(axis=0) + 1e-6).all()
    if name in ("krum", "multi_krum"):
        return  # of two with one score the first is taken, which is an order
    np.testing.assert_allclose(combine(name, rows[order]), combined, atol=1e-3)
    np.testing.assert_allclose(combine(name, rows + shift), combined + shift, atol=1e-3)


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
@given(rows=models, lies=arrays(np.float64, (2, 3), elements=st.floats(-1e30, 1e30)))
def test_two_of_seven_cannot_take_a_weight_beyond_the_honest_ones(
    name: str, rows: Rows, lies: Rows
) -> None:
    honest = rows[:5]
    combined = combine(name, np.vstack([honest, lies]))
    assert (combined >= honest.min(axis=0) - 1e-9).all()
    assert (combined <= honest.max(axis=0) + 1e-9).all()


@given(honest=models, lie=st.floats(1e4, 1e30))
def test_krum_never_takes_an_answer_far_from_all_others(honest: Rows, lie: float) -> None:
    rows = np.vstack([honest[:6], np.full((1, 3), lie)])
    chosen = combine("krum", rows)
    assert any(np.array_equal(chosen, row) for row in honest[:6])
