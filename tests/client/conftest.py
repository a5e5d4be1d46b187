"""A site with a ledger, for tests that ask its handlers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from client.site import Site
from tests.conftest import train_ids

MakeSite = Callable[..., Site]


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    images = {p: 1 + i % 3 for i, p in enumerate(train_ids(8))}
    return make_site({**images, **{f"T{i}": 1 for i in range(30)}}, public_patients=20)
