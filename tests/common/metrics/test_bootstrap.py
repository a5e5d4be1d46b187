"""The bootstrap's draws, its intervals, and its replicates on the wire."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from common.errors import MessageError
from common.metrics import Scored, count, count_replicates, figures
from common.metrics.bootstrap import SUMS, Replicates, Scale, draw_patients, interval, merge
from common.metrics.counts import CELLS
from tests.common.metrics.images import CLASSES, multi_label, single_label


def test_each_replicate_draws_as_many_patients_as_there_are() -> None:
    drawn = draw_patients("key", "site test", 80, 2000)
    assert drawn.shape == (2000, 80)
    assert (drawn.sum(axis=1) == 80).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(80), abs=0.1)
    assert drawn.var() == pytest.approx(1 - 1 / 80, abs=0.02)
    assert (draw_patients("key", "site test", 80, 2000) == drawn).all()
    for key, label in (("other", "site test"), ("key", "elsewhere test"), ("key", "site all")):
        again = draw_patients(key, label, 80, 2000)
        assert abs(np.corrcoef(drawn.ravel(), again.ravel())[0, 1]) < 0.02
    assert draw_patients("key", "site test", 0, 5).shape == (5, 0)


@pytest.mark.parametrize("scored", [single_label(90), multi_label(90)])
def test_replicates_come_off_the_wire_as_they_were(scored: Scored) -> None:
    counts = count(scored)
    weights = draw_patients("key", "site test", 90, 30)
    replicates = count_replicates(scored, weights)
    arrays = Replicates.pack(replicates, counts).to_arrays()
    assert arrays["cells"].dtype == np.uint8
    assert sum(a.nbytes for a in arrays.values()) < 60_000
    back = Replicates.from_arrays(arrays, counts, 30).expand(counts)
    for name in (*CELLS, *SUMS):
        assert (getattr(back, name) == getattr(replicates, name)).all()


def test_replicates_off_the_wire_are_checked() -> None:
    scored = single_label(90)
    counts = count(scored)
    replicates = count_replicates(scored, draw_patients("key", "site test", 90, 30))
    good = Replicates.pack(replicates, counts).to_arrays()
    for name, bad in (
        ("cells", good["cells"][:-1]),
        ("cells", good["cells"][:, 1:]),
        ("cells", good["cells"].astype(np.int64)),
        ("cells", good["cells"].astype(np.uint32) + 10**9),
        ("sums", good["sums"] * np.nan),
        ("sums", good["sums"] + 1e16),
        ("sums", -good["sums"]),
        ("sums", good["sums"][:, :-1]),
    ):
        with pytest.raises(MessageError, match="replicates"):
            Replicates.from_arrays({**good, name: bad}, counts, 30)
    with pytest.raises(MessageError, match="expected"):
        Replicates.from_arrays({"cells": good["cells"]}, counts, 30)


def test_merged_replicates_are_the_bootstrap_of_all_patients_by_site() -> None:
    """Replicate by replicate the same as from all scores at once, and as each site's own added."""
    scored = single_label(240)
    places = (np.arange(100), np.arange(100, 240))
    weights = [draw_patients("key", f"{i} test", len(p), 20) for i, p in enumerate(places)]
    sites = [scored.take(place) for place in places]
    each = [count_replicates(s, drawn) for s, drawn in zip(sites, weights, strict=True)]
    counts = [count(s) for s in sites]
    merged = merge(
        [(Replicates.pack(r, c), c) for r, c in zip(each, counts, strict=True)],
    )
    added = reduce(add, each)
    for name in (*CELLS, *SUMS):
        np.testing.assert_allclose(getattr(merged, name), getattr(added, name))
    whole = count_replicates(scored, np.concatenate(weights, axis=1))
    for name in (*CELLS, "losses", "reliability"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("value", "scale", "ends"),
    [(0.97, "share", (0, 1)), (0.4, "amount", (0, 9)), (-0.9, "correlation", (-1, 1))],
)
def test_an_interval_stays_where_the_figure_can_be(
    value: float, scale: Scale, ends: tuple[float, float]
) -> None:
    replicates = value + np.random.default_rng(0).normal(0, 0.05, 500)
    low, high = interval(value, replicates, scale, 50)
    assert ends[0] < low < value < high < ends[1]
    wider = interval(value, replicates, scale, 5)
    assert wider[0] < low
    assert high < wider[1]


@pytest.mark.parametrize(
    ("value", "replicates", "fewest"),
    [
        (1.0, np.array([0.9, 1.0, 1.0]), 50),
        (0.5, np.full(9, 0.5), 50),
        (0.5, np.array([0.4, 0.6, *[np.nan] * 3]), 50),
        (np.nan, np.array([0.4, 0.6]), 50),
        (0.5, np.array([0.4, 0.6]), 1),
    ],
)
def test_where_replicates_say_nothing_there_is_no_interval(
    value: float, replicates: np.ndarray, fewest: int
) -> None:
    assert np.isnan(interval(value, replicates, "share", fewest)).all()


def test_patients_with_many_images_widen_the_interval() -> None:
    """Ten copies of each image say no more than one of it."""
    scored = single_label(150)
    drawn = draw_patients("key", "site test", 150, 400)
    tenfold = np.repeat(np.arange(150), 10)
    many = scored.take(tenfold)
    widths = []
    for images, weights in ((scored, drawn), (many, drawn[:, tenfold])):
        found = figures(count(images), CLASSES, count_replicates(images, weights))["accuracy"]
        widths.append(found["high"] - found["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_crowded_scores_keep_their_intervals() -> None:
    """A model that has hardly learnt puts all images into a few bins."""
    scored = single_label(200)
    drawn = draw_patients("key", "site test", 200, 100)
    for name in ("auroc", "auprc", "auroc_macro", "auprc_micro"):
        ends = []
        for scale in (1.0, 1e-4):
            images = Scored(scored.logits * scale + [1.0, 0, 0], scored.labels, multi_label=False)
            binary = Scored(images.logits[:, :1], scored.labels[:, :1], multi_label=True)
            found = figures(count(binary), ("a",), count_replicates(binary, drawn))[name]
            found = found.get("a", found)
            ends.append((found["value"], found["low"], found["high"]))
        assert ends[1] == pytest.approx(ends[0], abs=1e-9)
        assert ends[0][2] - ends[0][1] > 0.05


def test_an_interval_of_normal_replicates_is_students() -> None:
    """Of ten images: t₉ = 2.262157, widened by √(10/9), times the replicates' spread."""
    replicates = np.array([-1.0, 1.0] * 50)
    half = 2.262157 * np.sqrt(10 / 9) * replicates.std(ddof=1)
    found = interval(0.25, replicates, "difference", 10)
    assert found == pytest.approx((0.25 - half, 0.25 + half), rel=1e-6)
