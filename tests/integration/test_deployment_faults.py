"""Sites, proxy and network fail in the middle of a run: it completes, no round is applied twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import fedrounds
from common.journal import read_lines
from tests.integration.consortium import (
    COMMAND,
    MARKS,
    PLAIN,
    SITES,
    TIMEOUT,
    World,
    kill,
    pid_of,
    stop,
    wait_for,
)

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


def rounds_without(world: World, run: str, site: str) -> list[int]:
    return [r["round"] for r in world.rounds(run) if site in r["refused"]]


def expect_left_out_and_back(world: World, run: str, site: str) -> None:
    """The site stands in the newest round again, after one that did without it."""
    wait_for(lambda: rounds_without(world, run, site), f"a round without {site}")
    wait_for(lambda: site in world.rounds(run)[-1]["answered"], f"the return of {site}")


def expect_each_round_once(world: World, run: str, rounds: int) -> None:
    lines = read_lines(world.base / run / "rounds.jsonl")
    assert [line["round"] for line in lines] == list(range(1, rounds + 1))
    assert all(line["applied"] for line in lines)
    for line in lines:
        assert set(line["answered"]).isdisjoint(line["refused"])
        assert set(line["answered"]) | set(line["refused"]) == set(SITES)


def test_a_site_is_killed_another_pauses_and_the_proxy_is_killed(world: World) -> None:
    world.start_sites()
    rounds = 14
    with world.server("killed", *PLAIN, f"rounds={rounds}", "deadline_seconds=10") as server:
        wait_for(lambda: world.rounds("killed"), "round 1")
        kill(world.clients["eastbrook"])
        world.start_site("eastbrook")
        os.kill(pid_of("nginx: master", server.pid), signal.SIGKILL)
        expect_left_out_and_back(world, "killed", "eastbrook")
        check_pause(world, "southgate")
        assert server.wait(2 * TIMEOUT) == 0
    expect_each_round_once(world, "killed", rounds)
    restarted = [
        line["process"]
        for line in read_lines(world.coordinator / "audit.jsonl")
        if line["event"] == "restarted"
    ]
    assert restarted == ["proxy"]


def check_pause(world: World, site: str) -> None:
    """A site's data manager stops it for a while; the federation goes on without it."""
    kit = str(world.kit(site))
    assert fedrounds.main(["client", "pause", kit]) == 0
    wait_for(lambda: rounds_without(world, "killed", site), f"a round without {site}")
    assert world.audit(site, "paused")
    before = len(world.audit(site, "connected"))
    assert fedrounds.main(["client", "resume", kit]) == 0
    wait_for(lambda: len(world.audit(site, "connected")) > before, "it to serve again")


def test_a_network_that_is_cut_for_60_seconds(world: World) -> None:
    world.start_sites()
    stop(world.clients["southgate"])
    words = ["ip", "netns", "exec", NAMESPACE, *COMMAND, "client", str(world.kit("southgate"))]
    with (world.base / "southgate.out").open("ab") as log:
        world.clients["southgate"] = subprocess.Popen(words, stdout=log, stderr=log)
    rounds = 20
    with world.server("cut", *PLAIN, f"rounds={rounds}", "deadline_seconds=10") as server:
        wait_for(lambda: world.rounds("cut"), "round 1")
        ip("link", "set", LINK[0], "down")
        time.sleep(60)
        ip("link", "set", LINK[0], "up")
        expect_left_out_and_back(world, "cut", "southgate")
        assert server.wait(2 * TIMEOUT) == 0
    expect_each_round_once(world, "cut", rounds)
