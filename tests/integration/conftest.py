"""A consortium for each file of the deployment's tests; its sites serve through the whole file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fedrounds
from tests.integration.consortium import PLAIN, World, stop, weights


@pytest.fixture(scope="module")
def host() -> str:
    """The name that the server's certificate has."""
    return "127.0.0.1"


@pytest.fixture(scope="module")
def world(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A consortium, with three phantom hospitals."""
    world = World(tmp_path_factory.mktemp("loopback"))
    world.make(host)
    yield world
    seconds = [stop(process) for process in world.clients.values()]
    assert max(seconds, default=0.0) < 10
    assert all(process.returncode == 130 for process in world.clients.values())


@pytest.fixture(scope="module")
def simulated(world: World) -> dict[str, bytes]:
    """The weights that ``engine=inprocess`` gives with the same seed."""
    words = [*PLAIN, "rounds=3", f"data.root={world.hospitals}", "engine.workers=1"]
    output = world.folder / "simulated"
    assert fedrounds.main(["simulate", *words, f"output_dir={output}"]) == 0
    return weights(output)
