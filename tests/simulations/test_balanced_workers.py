"""How many processes a simulation's sites are given."""

from __future__ import annotations

import pytest

from simulations.inprocess import balanced_workers


@pytest.mark.parametrize(
    ("sites", "cores", "workers"),
    [
        (1, 1, 1), (9, 1, 1),  # one core is never idle
        (2, 2, 2), (4, 2, 2), (10, 2, 2),  # the sites fill the cores as they are
        (3, 2, 3), (5, 2, 3), (5, 4, 5), (7, 4, 7),  # else one would be idle for half a round
        (2, 4, 4),  # more than sites do no harm: the engine starts as many as there are sites
    ],
)  # fmt: skip
def test_no_core_is_idle_while_a_site_waits(sites: int, cores: int, workers: int) -> None:
    assert balanced_workers(sites, cores) == workers
    assert cores <= workers < max(2 * cores, cores + 1)
