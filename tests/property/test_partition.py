"""The partitions, for any pool: each patient at one site, and nobody moves when another leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.manifest import Manifest
from common.data.partition import rows_by_site, shares, site_names
from common.data.pool import PoolSettings
from common.data.split import rows_of_part

images = st.lists(
    st.tuples(st.text(min_size=1, max_size=4), st.sampled_from([0.0, 1.0, np.nan]), st.booleans()),
    min_size=1,
    max_size=40,
)
pools = st.builds(
    PoolSettings,
    name=st.sampled_from(["iid", "dirichlet", "quantity"]),
    sites=st.integers(1, 12),
    alpha=st.floats(0.05, 50),
    seed=st.none() | st.integers(0, 5),
)


def manifest_of(rows: list[tuple[str, float, bool]]) -> Manifest:
    """A row an image: its patient, and its labels of two classes."""
    return Manifest(
        root=Path(),
        files=tuple(f"{i}.png" for i in range(len(rows))),
        patients=tuple(patient for patient, _, _ in rows),
        labels=np.array([[a, b] for _, a, b in rows], dtype=np.float32),
        classes=("a", "b"),
        metadata={},
    )


def places(manifest: Manifest, pool: PoolSettings, key: str = "key") -> dict[str, list[int]]:
    return {site: rows.tolist() for site, rows in rows_by_site(manifest, pool, key).items()}


@given(images, pools)
def test_every_image_is_at_exactly_one_site_and_every_patient_too(
    rows: list[tuple[str, float, bool]], pool: PoolSettings
) -> None:
    manifest = manifest_of(rows)
    found = places(manifest, pool)
    assert sorted(row for own in found.values() for row in own) == list(range(len(rows)))
    at = [{manifest.patients[row] for row in own} for own in found.values()]
    assert sum(map(len, at)) == len(set(manifest.patients))


@given(images, pools)
def test_sites_and_parts_together_hold_every_image_once(
    rows: list[tuple[str, float, bool]], pool: PoolSettings
) -> None:
    manifest, seen = manifest_of(rows), []
    for own in places(manifest, pool).values():
        site = manifest.take(own)
        for part in ("train", "validation", "test"):
            seen += [site.files[r] for r in rows_of_part(site.patients, part, "key", 0.3, 0.2)]
    assert sorted(seen) == sorted(manifest.files)


@given(images, pools)
def test_removing_a_patient_moves_nobody_else(
    rows: list[tuple[str, float, bool]], pool: PoolSettings
) -> None:
    leaving = rows[0][0]
    stay = [i for i, row in enumerate(rows) if row[0] != leaving]
    before, after = (
        places(manifest_of(rows), pool),
        places(manifest_of([rows[i] for i in stay]), pool),
    )
    for site, own in before.items():
        assert [row for row in own if row in stay] == [stay[row] for row in after[site]]


@given(images, pools, st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    rows: list[tuple[str, float, bool]], pool: PoolSettings, random: object
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before, after = (
        places(manifest_of(rows), pool),
        places(manifest_of([rows[i] for i in order]), pool),
    )
    for site, own in before.items():
        assert own == sorted(order[row] for row in after[site])


@given(pools, st.integers(0, 5))
def test_shares_sum_to_one(pool: PoolSettings, stratum: int) -> None:
    assert shares(pool, stratum).sum() == pytest.approx(1)


def many(patients: int) -> Manifest:
    return manifest_of([(f"P{i}", float(i % 2), i % 2 == 0) for i in range(patients)])


def test_iid_sites_are_alike_and_a_site_says_nothing_of_a_part() -> None:
    manifest = many(8000)
    for own in places(manifest, PoolSettings("iid", sites=4, seed=0), "fedrounds").values():
        site = manifest.take(own)
        assert abs(len(site) - 2000) < 150
        assert abs(site.labels[:, 0].mean() - 0.5) < 0.05
        tested = len(rows_of_part(site.patients, "test", "fedrounds", 0.2, 0.1))
        assert abs(tested / len(site) - 0.2) < 0.04


def test_dirichlet_sites_keep_their_drawn_shares_of_each_class() -> None:
    manifest, pool = many(8000), PoolSettings("dirichlet", sites=4, alpha=0.5, seed=1)
    drawn = np.array([shares(pool, stratum) for stratum in (0, 1)])
    assert abs(drawn[0] - drawn[1]).max() > 0.2  # the classes differ
    for number, own in enumerate(places(manifest, pool).values()):
        labels = manifest.labels[own]
        for k in (0, 1):
            assert abs((labels[:, k] == 1).sum() / 4000 - drawn[k, number]) < 0.03


def test_quantity_sites_differ_in_size_alone() -> None:
    manifest, pool = many(8000), PoolSettings("quantity", sites=3, alpha=0.7, seed=3)
    found = places(manifest, pool)
    sizes = np.array([len(own) for own in found.values()])
    np.testing.assert_allclose(sizes / 8000, shares(pool, 0), atol=0.02)
    assert sizes.max() > 1.5 * sizes.min()
    for own in found.values():
        if len(own) > 500:
            assert abs(manifest.labels[own, 0].mean() - 0.5) < 0.07


def test_another_seed_or_key_places_patients_elsewhere() -> None:
    manifest, pool = many(500), PoolSettings("iid", seed=0)
    assert places(manifest, pool) != places(manifest, PoolSettings("iid", seed=1))
    assert places(manifest, pool) != places(manifest, pool, "another")


def test_known_places_never_change() -> None:
    # pinned: a site that was divided off keeps its patients, whom its ledger is about
    found = places(many(12), PoolSettings("iid", sites=3, seed=0))
    assert found == {"site-1": [0, 2], "site-2": [1, 4, 8, 11], "site-3": [3, 5, 6, 7, 9, 10]}
    assert site_names(PoolSettings("iid", sites=10))[0] == "site-01"
