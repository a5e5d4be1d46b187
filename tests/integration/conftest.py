"""A consortium for each file of the deployment's tests; its sites serve through the whole file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

import fedrounds
from common.compose import load_settings
from common.processes import free_port
from simulations.hospitals import HOSPITALS, write_hospitals
from simulations.sites import prepare_cohorts, write_site_folders
from tests.integration.consortium import PLAIN, SITES, World, stop, weights


@pytest.fixture(scope="module")
def host() -> str:
    """The name that the server's certificate has."""
    return "127.0.0.1"


@pytest.fixture(scope="module")
def world(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A consortium made by its commands, with three phantom hospitals."""
    base = tmp_path_factory.mktemp("consortium") / "base"
    hospitals = base.parent / "hospitals"
    sizes = zip(HOSPITALS[:3], (60, 50, 40), strict=True)
    write_hospitals(hospitals, 0, tuple(replace(h, patients=n) for h, n in sizes))
    settings = load_settings([*PLAIN, f"data.root={hospitals}", "privacy.public_patients=30"])
    cohorts = prepare_cohorts(settings, base.parent)
    port, superlink_port = free_port(), free_port()
    words = [f"sites=[{','.join(SITES)}]", f"host={host}", f"port={port}", "zip=false"]
    made = fedrounds.main(
        ["provision", *words, f"superlink_port={superlink_port}", f"output_dir={base}"]
    )
    assert made == 0
    world = World(base, hospitals, {})
    for folder in write_site_folders(cohorts, base.parent / "sites"):
        kit = world.kit(folder.name)
        shutil.copytree(folder, kit, dirs_exist_ok=True)  # a site.yaml that was filled in
        assert fedrounds.main(["client", "init", str(kit)]) == 0
        register = ["provision", "register", str(world.coordinator), kit.name]
        assert fedrounds.main([*register, str(kit / "node.pub")]) == 0
    yield world
    seconds = [stop(process) for process in world.clients.values()]
    assert max(seconds, default=0.0) < 10
    assert all(process.returncode == 130 for process in world.clients.values())


@pytest.fixture(scope="module")
def simulated(world: World) -> dict[str, bytes]:
    """The weights that ``engine=inprocess`` gives with the same seed."""
    words = [*PLAIN, "rounds=3", f"data.root={world.hospitals}", "engine.workers=1"]
    output = world.base.parent / "simulated"
    assert fedrounds.main(["simulate", *words, f"output_dir={output}"]) == 0
    return weights(output)
