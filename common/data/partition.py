"""Which site of a simulation each patient is at, where one pool of images is divided.

A patient's place is a keyed hash of its own id, compared with bounds that follow from the settings
and the seed alone. So removing a patient moves nobody else, and all images of a patient are at one
site. The key is derived from the split's but differs from it: a patient's site says nothing of its
part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.data.manifest import Manifest
from common.data.pool import PoolSettings
from common.data.split import unit_interval


def site_names(pool: PoolSettings) -> list[str]:
    """``site-1`` to ``site-N``, with zeros in front so that their order is that of the numbers."""
    digits = len(str(pool.sites))
    return [f"site-{number:0{digits}}" for number in range(1, pool.sites + 1)]


def shares(pool: PoolSettings, stratum: int) -> NDArray[np.float64]:
    """The share of each site in the patients of one stratum.

    ``iid``: equal. ``quantity``: one draw of Dirichlet(α, …, α) for all strata. ``dirichlet``: one
    draw for each stratum, so that sites differ in what their patients have (Hsu, Qi and Brown
    2019, arXiv:1909.06335). Draws follow from the seed and the stratum, never from the patients.

    Returns:
        float64 (N,), which sum to 1.
    """
    if pool.name == "iid":
        return np.full(pool.sites, 1 / pool.sites)
    place = stratum if pool.name == "dirichlet" else 0
    rng = np.random.default_rng([pool.seed or 0, place])
    return rng.dirichlet(np.full(pool.sites, pool.alpha))


def sites_of_patients(manifest: Manifest, pool: PoolSettings, split_key: str) -> dict[str, int]:
    """The number of each patient's site, from 0.

    A patient's stratum is the first class, in the public order, that any of its images has; those
    who have none are a stratum of their own.
    """
    key = f"{split_key}/partition/{pool.seed or 0}"
    bounds = [shares(pool, stratum).cumsum() for stratum in range(len(manifest.classes) + 1)]
    sites = {}
    for patient, rows in manifest.rows_by_patient().items():
        has = (manifest.labels[rows] == 1).any(axis=0)
        stratum = int(has.argmax()) if has.any() else len(has)
        place = np.searchsorted(bounds[stratum], unit_interval(key, patient), side="right")
        sites[patient] = min(int(place), pool.sites - 1)
    return sites


def rows_by_site(
    manifest: Manifest, pool: PoolSettings, split_key: str
) -> dict[str, NDArray[np.int64]]:
    """Rows of the pool that are at each site, int64 (m,), ascending."""
    places = sites_of_patients(manifest, pool, split_key)
    rows: list[list[int]] = [[] for _ in range(pool.sites)]
    for row, patient in enumerate(manifest.patients):
        rows[places[patient]].append(row)
    return {
        name: np.array(own, dtype=np.int64)
        for name, own in zip(site_names(pool), rows, strict=True)
    }
