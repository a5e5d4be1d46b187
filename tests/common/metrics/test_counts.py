"""Counts: merging, the wire, and what the grid may hide."""

from __future__ import annotations

import math
from functools import reduce
from itertools import combinations, permutations
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import MessageError
from common.metrics import Counts, Scored, count, count_replicates, figures
from common.metrics.grid import BINS, edge_score, score_bins
from common.metrics.ranking import precision_bounds, precision_sum, wins
from tests.common.metrics.images import CLASSES, multi_label, single_label

FIELDS = sorted(Counts.zero(2, multi_label=False).to_arrays())


@pytest.mark.parametrize("scored", [single_label(200), multi_label(200)])
def test_the_order_and_number_of_sites_does_not_matter(scored: Scored) -> None:
    cuts = ((150, 200), (0, 20), (20, 150))
    parts = [count(scored.take(np.arange(a, b))) for a, b in cuts]
    for some in permutations(parts):
        merged, other = reduce(add, some), reduce(add, parts)
        for name in FIELDS:
            np.testing.assert_allclose(getattr(merged, name), getattr(other, name), atol=1e-9)
    whole = count(scored)
    for name in set(FIELDS) - {"sites", "in_one_bin", "precision"}:
        np.testing.assert_allclose(getattr(whole, name), getattr(merged, name), atol=1e-9)
    assert (whole.in_one_bin[:, 0] >= merged.in_one_bin[:, 0]).all()
    assert merged.sites[0] == 3


def test_two_sites_know_more_than_the_grid() -> None:
    """Pairs in one bin are ordered where both are of one site; the bound is on the others alone."""
    crowded = single_label(600)
    scored = Scored(crowded.logits * 1e-3, crowded.labels, multi_label=False)
    two = count(scored.take(np.arange(300))) + count(scored.take(np.arange(300, 600)))
    bound = figures(two, CLASSES)["bin_error"]
    assert 0.05 < bound < 0.3
    exact = figures(count(scored), CLASSES)
    assert exact["bin_error"] == 0
    for name in CLASSES:
        off = figures(two, CLASSES)["auroc"][name]["value"] - exact["auroc"][name]["value"]
        assert 0 < abs(off) < bound


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_no_order_within_bins_passes_the_bounds_of_precision(
    images: list[tuple[int, bool]],
) -> None:
    """All orders of at most five images, with and without ties."""
    positives, negatives = (
        np.bincount([b for b, sick in images if sick is side], minlength=4).astype(np.int64)
        for side in (True, False)
    )
    least, most = precision_bounds(positives, negatives)
    n = len(images)
    for order in permutations(range(n)):
        for ties in (c for k in range(n) for c in combinations(range(1, n), k)):
            ranks = np.cumsum([i in ties for i in range(n)])
            place = [b * n + int(ranks[order[i]]) for i, (b, _) in enumerate(images)]
            sick = np.array([s for _, s in images])
            exact = precision_sum(
                np.bincount(np.array(place)[sick], minlength=4 * n),
                np.bincount(np.array(place)[~sick], minlength=4 * n),
            )
            assert least - 1e-9 <= exact <= most + 1e-9


def test_perfect_reversed_and_tied_scores() -> None:
    low, high = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    low[10], high[20] = 5, 7
    assert wins(high, low) == 35
    assert wins(low, high) == 0
    assert wins(low, low) == 12.5


def test_unknown_labels_are_not_counted() -> None:
    labels = np.array([[1, np.nan], [0, 1], [np.nan, 0]], np.float32)
    logits = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -1.0]])
    counts = count(Scored(logits, labels, multi_label=True))
    assert counts.positives.sum(axis=1).tolist() == [1, 1]
    assert counts.negatives.sum(axis=1).tolist() == [1, 1]
    assert counts.labels == 4
    expected = 2 * math.log1p(math.exp(-2)) + 2 * math.log1p(math.exp(-1))
    assert counts.losses[0, 0] == pytest.approx(expected)
    assert figures(counts, ("a", "b"))["balanced_accuracy"]["value"] == 1.0


def test_scores_at_the_ends_and_unknown_ones_have_a_bin() -> None:
    odds = np.array([-np.inf, -16.0, 0.0, 15.999, 16.0, np.inf, np.nan])
    assert score_bins(odds).tolist() == [0, 0, BINS // 2, BINS - 1, BINS - 1, BINS - 1, 0]
    assert edge_score(BINS // 2) == 0.5


@pytest.mark.parametrize("scored", [single_label(120), multi_label(120)])
def test_a_replicate_is_the_count_of_the_images_that_it_drew(scored: Scored) -> None:
    weights = np.random.default_rng(3).integers(0, 4, (40, 120))
    replicates = count_replicates(scored, weights)
    for b in (0, 17, 39):
        drawn = count(scored.take(np.repeat(np.arange(120), weights[b])))
        for name in set(FIELDS) - {"temperatures"}:
            np.testing.assert_allclose(getattr(replicates, name)[b], getattr(drawn, name))


@pytest.mark.parametrize("name", FIELDS)
def test_counts_off_the_wire_are_checked(name: str) -> None:
    good = count(single_label(50)).to_arrays()
    assert Counts.from_arrays(good, 3, multi_label=False)
    for bad in (good[name][:-1], -1 - good[name], good[name].astype(np.float32)):
        with pytest.raises(MessageError, match=name):
            Counts.from_arrays({**good, name: bad}, 3, multi_label=False)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("in_one_bin", (0, 0), 10**6),
        ("in_one_bin", (1, 1), 10**6),
        ("precision", (2,), 51.0),
        ("confidence", (0, 0), 7),
        ("reliability", (0, 3, 2), 51.0),
        ("positives", (0, 0), 10**8),
        ("losses", (0, 0), math.inf),
        ("sites", (0,), 2),
    ],
)
def test_counts_that_contradict_each_other_are_refused(
    name: str, place: tuple[int, ...], value: float
) -> None:
    good = count(single_label(50)).to_arrays()
    bad = good[name].copy()
    bad[place] = value
    with pytest.raises(MessageError, match=name):
        Counts.from_arrays({**good, name: bad}, 3, multi_label=False)
