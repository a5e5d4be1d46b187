"""One server and three sites over TLS with keys, all real processes: the simulation's results."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fedrounds
from client.site import Site
from common.journal import read_lines
from simulations.loopback import COMMAND, SITES, spawn
from tests.integration.consortium import (
    MARKS,
    PLAIN,
    PRIVATE,
    TIMEOUT,
    World,
    kill,
    stop,
    wait_for,
    weights,
)

pytestmark = MARKS


def test_three_sites_train_to_the_simulations_bits(
    world: World, simulated: dict[str, bytes]
) -> None:
    with world.server("plain", *PLAIN, "rounds=3", "tracker=tensorboard") as server:
        world.start_sites()
        wait_for(lambda: world.rounds("plain"), "round 1")
        status = status_of(world)
        assert server.wait(TIMEOUT) == 0
    assert status["running"]
    assert {s["name"]: s["online"] for s in status["sites"]} == dict.fromkeys(SITES, True)
    assert status["runs"][-1]["sites"] == list(SITES)
    assert weights(world.base / "plain") == simulated
    assert (world.base / "plain" / "report.html").exists()
    assert json.loads((world.base / "plain" / "result.json").read_text())["rounds"] == 3
    assert status_of(world)["runs"][-1]["complete"]
    seconds = [event["seconds"] for event in world.rounds("plain")]
    print("seconds a round:", seconds)
    for site in SITES:
        assert world.audit(site, "connected")
        assert world.audit(site, "run approved")[-1]["by"] == "policy"
    leaves = (world.kit(SITES[0]) / "audit.jsonl").read_text()
    assert str(world.hospitals) not in leaves
    tracked = EventAccumulator(str(world.base / "plain" / "tensorboard")).Reload()
    assert [told.step for told in tracked.Scalars("bytes/up")] == [1, 2, 3]
    assert [told.step for told in tracked.Scalars("test/auroc_macro")] == [3]


def status_of(world: World) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "server", "status", str(world.coordinator), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_a_server_that_is_killed_goes_on_to_the_same_weights(
    world: World, simulated: dict[str, bytes]
) -> None:
    world.start_sites()
    with world.server("killed", *PLAIN, "rounds=3") as server:
        wait_for(lambda: world.rounds("killed"), "round 1")
        kill(server)
    assert not (world.base / "killed" / "result.json").exists()
    again = ["server", "resume", str(world.coordinator), str(world.base / "killed")]
    log = world.base / "again.out"
    second = spawn(again, log)
    wait_for(lambda: "serving at" in log.read_text(), "the second server")
    assert stop(second) < 10
    assert second.returncode == 130
    assert "go on with: fedrounds server resume" in log.read_text()
    third = spawn(again, log)
    assert third.wait(TIMEOUT) == 0, log.read_text()
    assert weights(world.base / "killed") == simulated
    lines = read_lines(world.base / "killed" / "rounds.jsonl")
    assert [line["round"] for line in lines] == [1, 2, 3]  # no round was applied twice


def test_with_privacy_ledgers_results_and_report_come_out(world: World) -> None:
    world.give_ledgers()
    asking = world.kit("southgate") / "consortium.yaml"
    asking.write_text(asking.read_text() + "approve: ask\n")
    world.start_sites()
    with world.server("private", *PRIVATE, "rounds=2") as server:
        wait_for(lambda: world.audit("southgate", "run asked"), "the question")
        run_id = world.audit("southgate", "run asked")[-1]["run_id"]
        assert not world.rounds("private")
        words = ["client", "approve", str(world.kit("southgate")), run_id[:8]]
        assert fedrounds.main(words) == 0
        assert server.wait(TIMEOUT) == 0
    result = json.loads((world.base / "private" / "result.json").read_text())
    assert result["rounds"] == 2
    for site in result["sites"]:
        privacy = site["privacy"]
        assert privacy["source"] == "ledger"
        assert 0 < privacy["epsilon_run"] <= 8
        ledger = Site.open(world.kit(site["name"])).ledger().read()
        assert len(ledger.entries) == 1 + 1 + 2 * 2  # genesis, plan, an intent and answer a round
        released = read_lines(world.kit(site["name"]) / "disclosure.jsonl")
        trained = [e["round"] for e in released if e["covered_by"] == "ledger"]
        assert trained == [1, 2]
    for page in ("report.html", "MODEL_CARD.md"):
        assert "ε" in (world.base / "private" / page).read_text()
    approved = world.audit("southgate", "run approved")[-1]
    assert approved["by"] != "policy"
    assert 0 < approved["epsilon_run"] <= 8
