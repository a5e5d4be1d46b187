"""A site's network is cut for a minute in the middle of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from simulations.loopback import COMMAND
from tests.integration.consortium import MARKS, PLAIN, TIMEOUT, World, stop, wait_for

pytestmark = MARKS

NAMESPACE = "fedrounds"
LINK = ("fedrounds0", "fedrounds1")
ADDRESSES = ("198.51.100.1", "198.51.100.2")
"""Of a range that RFC 5737 keeps for documentation."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def remove_network() -> None:
    for words in (["netns", "del", NAMESPACE], ["link", "del", LINK[0]]):
        with suppress(subprocess.CalledProcessError):
            ip(*words)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """This machine's end of a cable to another one: a network namespace of its own."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs Linux, root and the command 'ip' for a network namespace")
    remove_network()
    try:
        ip("netns", "add", NAMESPACE)
        ip("link", "add", LINK[0], "type", "veth", "peer", "name", LINK[1], "netns", NAMESPACE)
        for where, link, address in zip(([], ["-n", NAMESPACE]), LINK, ADDRESSES, strict=True):
            ip(*where, "address", "add", f"{address}/30", "dev", link)
            ip(*where, "link", "set", link, "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield ADDRESSES[0]
    finally:
        remove_network()


def test_a_network_that_is_cut_for_60_seconds(world: World) -> None:
    world.start_sites()
    stop(world.clients["southgate"])
    words = ["ip", "netns", "exec", NAMESPACE, *COMMAND, "client", str(world.kit("southgate"))]
    with (world.base / "southgate.out").open("ab") as log:
        world.clients["southgate"] = subprocess.Popen(words, stdout=log, stderr=log)
    rounds = 20
    with world.server("cut", *PLAIN, f"rounds={rounds}", "deadline_seconds=20") as server:
        wait_for(lambda: world.rounds("cut"), "round 1")
        ip("link", "set", LINK[0], "down")
        time.sleep(60)
        ip("link", "set", LINK[0], "up")
        world.expect_left_out_and_back("cut", "southgate")
        assert server.wait(2 * TIMEOUT) == 0
    world.expect_each_round_once("cut", rounds)
