"""Sites, proxy and server fail in the middle of a run: no round is applied twice, no ledger is
behind what was released."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import fedrounds
from client.entries import Commit, Intent, of_kind
from client.site import Site
from common.checkpoint import read_json
from common.journal import read_lines
from simulations.loopback import SITES, family_of, spawn
from tests.integration.consortium import (
    MARKS,
    PLAIN,
    PRIVATE,
    TIMEOUT,
    World,
    kill,
    pid_of,
    stop,
    wait_for,
)

pytestmark = MARKS


def test_a_site_is_killed_another_pauses_and_the_proxy_is_killed(world: World) -> None:
    world.start_sites()
    rounds = 14
    words = [*PLAIN, "local_steps=200", f"rounds={rounds}", "deadline_seconds=30"]
    with world.server("killed", *words) as server:
        wait_for(lambda: world.rounds("killed"), "round 1")
        kill(world.clients["eastbrook"])
        world.start_site("eastbrook")
        world.expect_left_out_and_back("killed", "eastbrook")
        check_pause(world, "southgate")
        wait_for(lambda: len(world.rounds("killed")[-1]["answered"]) == 3, "all three")
        time.sleep(2)  # they have fetched the next round's message, and train
        os.kill(pid_of("nginx: master", server.pid), signal.SIGKILL)
        assert server.wait(2 * TIMEOUT) == 0
    world.expect_each_round_once("killed", rounds)
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
    wait_for(lambda: world.rounds_without("killed", site), f"a round without {site}")
    assert world.audit(site, "paused")
    before = len(world.audit(site, "connected"))
    assert fedrounds.main(["client", "resume", kit]) == 0
    wait_for(lambda: len(world.audit(site, "connected")) > before, "it to serve again")


@contextmanager
def ten_times_slower(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a site's processes run for a tenth of the time alone."""
    over = threading.Event()

    def family() -> set[int]:
        return {member.pid for member in family_of(process.pid)}

    def signal_all(pids: set[int], number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def hold_up() -> None:
        while not over.is_set():
            held = family()
            signal_all(held, signal.SIGSTOP)
            signal_all(family() - held, signal.SIGSTOP)  # born in between
            time.sleep(0.9)
            signal_all(family(), signal.SIGCONT)
            time.sleep(0.1)

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_site_that_is_ten_times_slower(world: World) -> None:
    """The deadline is three times what a round takes here, however busy this machine is."""
    world.start_sites()
    words = [*PLAIN, "local_steps=400", "evaluate_every=100"]
    with world.server("quick", *words, "rounds=6"):
        wait_for(lambda: world.rounds("quick"), "round 1")
    deadline = 3 * world.rounds("quick")[0]["seconds"]
    words += ["rounds=6", f"deadline_seconds={deadline:.1f}"]
    with world.server("slow", *words) as server:
        wait_for(lambda: world.rounds("slow"), "round 1")
        with ten_times_slower(world.clients["northfield"]):
            wait_for(lambda: world.rounds_without("slow", "northfield"), "a round without it")
        world.expect_left_out_and_back("slow", "northfield")
        assert server.wait(2 * TIMEOUT) == 0
    world.expect_each_round_once("slow", 6)
    for site in ("eastbrook", "southgate"):
        assert not world.rounds_without("slow", site)


def test_no_ledger_is_behind_what_was_released(world: World) -> None:
    """A site is killed, another one and the server get SIGTERM, each while it trains."""
    world.give_ledgers()
    world.start_sites()
    words = [*PRIVATE, "local_steps=60", "rounds=12", "deadline_seconds=60"]
    with world.server("private", *words) as server:
        wait_for(lambda: world.rounds("private"), "round 1")
        wait_until_it_trains(world, "eastbrook")
        kill(world.clients["eastbrook"])
        world.start_site("eastbrook")
        world.expect_left_out_and_back("private", "eastbrook")
        wait_until_it_trains(world, "northfield")
        assert stop(world.clients["northfield"]) < 10
        assert world.clients["northfield"].returncode == 130
        world.start_site("northfield")
        world.expect_left_out_and_back("private", "northfield")
        wait_until_it_trains(world, "southgate")
        assert stop(server) < 10
        assert server.returncode == 130
    expect_ledgers_in_front(world)
    again = ["server", "resume", str(world.coordinator), str(world.base / "private")]
    assert spawn(again, world.base / "private.out").wait(2 * TIMEOUT) == 0
    expect_ledgers_in_front(world)
    lines = read_lines(world.base / "private" / "rounds.jsonl")
    assert [line["round"] for line in lines] == list(range(1, 13))


def wait_until_it_trains(world: World, site: str) -> None:
    """Until the site's ledger holds a round that has no answer yet."""
    ledger = Site.open(world.kit(site)).ledger()
    wait_for(lambda: isinstance(ledger.read().entries[-1], Intent), f"{site} to train")


def expect_ledgers_in_front(world: World) -> None:
    """What came to the server was released, what was released was charged, and the chains hold."""
    witnessed = read_json(world.coordinator / "witness.json")
    for site in SITES:
        assert fedrounds.main(["ledger", "verify", str(world.kit(site))]) == 0
        ledger = Site.open(world.kit(site)).ledger().read()
        assert 0 < witnessed[site]["entries"] <= len(ledger.rows)
        disclosed = read_lines(world.kit(site) / "disclosure.jsonl")
        released = [line["round"] for line in disclosed if line["covered_by"] == "ledger"]
        came = {r["round"] for r in world.rounds("private") if site in r["answered"]}
        charged = [intent.server_round for intent in of_kind(ledger.entries, Intent)]
        answers = [commit.server_round for commit in of_kind(ledger.entries, Commit)]
        assert came <= set(answers) <= set(released) <= set(charged)
        assert len(answers) == len(set(answers)) <= len(released) <= len(charged)
