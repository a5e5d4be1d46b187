"""A consortium on this machine: one server and three sites over TLS with keys, all real processes.

The three sites serve through the whole file, as real ones do; each test is a run of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from flwr.cli.build import build_fab_from_files

import fedrounds
from client.site import Site
from common.bundle import PYPROJECT
from common.checkpoint import read_tensors
from common.compose import load_settings
from common.flower import flower_environment
from common.journal import read_lines
from common.processes import free_port, is_listening
from server.deploy.control import Control
from server.provision.consortium import Consortium
from simulations.hospitals import HOSPITALS, write_hospitals
from simulations.sites import prepare_cohorts, write_site_folders
from tests.conftest import PROJECT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.deployment,
    pytest.mark.skipif(
        not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="needs nginx"
    ),
]

COMMAND = [sys.executable, str(PROJECT / "fedrounds.py")]
FAST = ["experiment=phantom", "local_steps=2", "model.width=4", "strategy.batch_size=8"]
PLAIN = [*FAST, "privacy=none"]
PRIVATE = [*FAST, "privacy=patient", "privacy.delta=1e-3", "rounds=2"]
TIMEOUT = 150.0
SITES = ("eastbrook", "northfield", "southgate")


@dataclass
class World:
    """The folders of a consortium and of its sites, and the sites' processes."""

    base: Path
    hospitals: Path
    clients: dict[str, subprocess.Popen[bytes]]

    @property
    def coordinator(self) -> Path:
        return self.base / "coordinator"

    def kit(self, site: str) -> Path:
        return self.base / "kits" / site

    def start_site(self, site: str) -> None:
        self.clients[site] = spawn(["client", str(self.kit(site))], self.base / f"{site}.out")

    def start_sites(self) -> None:
        """Those that do not run yet."""
        for site in SITES:
            if site not in self.clients:
                self.start_site(site)

    def events(self, run: str) -> list[dict[str, Any]]:
        return read_lines(self.base / run / "events.jsonl")

    def rounds(self, run: str) -> list[dict[str, Any]]:
        return [event for event in self.events(run) if event["event"] == "round"]

    def audit(self, site: str, event: str) -> list[dict[str, Any]]:
        return [e for e in read_lines(self.kit(site) / "audit.jsonl") if e["event"] == event]

    @contextmanager
    def server(self, run: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A server for the run in ``run``; ended with the block, if not before."""
        output = f"output_dir={self.base / run}"
        process = spawn(["server", str(self.coordinator), *words, output], self.base / f"{run}.out")
        try:
            yield process
        except BaseException:
            print((self.base / f"{run}.out").read_text()[-3000:])
            raise
        finally:
            stop(process)


def spawn(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*COMMAND, *words], stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent
        )


def stop(process: subprocess.Popen[bytes]) -> float:
    """SIGTERM, and how long it took to end with everything that it started."""
    started = time.monotonic()
    family = family_of(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    expect_gone(family)
    return time.monotonic() - started


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the one process that a person started; the rest must not outlive it."""
    family = family_of(process.pid)
    assert family
    process.kill()
    process.wait()
    expect_gone(family)


def family_of(pid: int) -> set[int]:
    """Everything that a process started, directly or not."""
    found: set[int] = set()
    while more := {child for child, parent in processes() if parent in {pid, *found}} - found:
        found |= more
    return found


def processes() -> list[tuple[int, int]]:
    """Every process that has not ended, with its parent."""
    words = ["ps", "-A", "-o", "pid=,ppid=,stat="]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]


def expect_gone(family: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := family & {pid for pid, _ in processes()}:
        assert time.monotonic() < deadline, f"orphans: {left}"
        time.sleep(0.1)


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT:.0f} s for {what}"
        time.sleep(0.2)


def run_sites(*folders: Path) -> list[tuple[int, str]]:
    """Clients that are expected to be refused: the exit code of each, and what it said."""
    logs = [folder / "said" for folder in folders]
    started = [spawn(["client", str(f)], log) for f, log in zip(folders, logs, strict=True)]
    return [(process.wait(60), log.read_text()) for process, log in zip(started, logs, strict=True)]


def weights(folder: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in read_tensors(folder, "model")[0].items()}


def copy_of(kit: Path, target: Path, port: int | None = None) -> Path:
    """Somebody's copy of a site's folder; with another port, if one is given."""
    shutil.copytree(kit, target, ignore=shutil.ignore_patterns("flower", "*.lock", "*.jsonl"))
    if port is not None:
        path = target / "consortium.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "port": port}))
    return target


def new_key(folder: Path) -> Path:
    (folder / "node.key").unlink()
    (folder / "node.pub").unlink()
    assert fedrounds.main(["client", "init", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A consortium made by its commands, with three phantom hospitals."""
    base = tmp_path_factory.mktemp("consortium") / "base"
    hospitals = base.parent / "hospitals"
    sizes = zip(HOSPITALS[:3], (60, 50, 40), strict=True)
    write_hospitals(hospitals, 0, tuple(replace(h, patients=n) for h, n in sizes))
    settings = load_settings([*PLAIN, f"data.root={hospitals}", "privacy.public_patients=30"])
    cohorts = prepare_cohorts(settings, base.parent)
    port, superlink_port = free_port(), free_port()
    words = [f"sites=[{','.join(SITES)}]", "host=127.0.0.1", f"port={port}", "zip=false"]
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
    assert max(seconds) < 10
    assert all(process.returncode == 130 for process in world.clients.values())


@pytest.fixture(scope="module")
def simulated(world: World) -> dict[str, bytes]:
    """The weights that ``engine=inprocess`` gives with the same seed."""
    words = [*PLAIN, "rounds=3", f"data.root={world.hospitals}", "engine.workers=1"]
    output = world.base.parent / "simulated"
    assert fedrounds.main(["simulate", *words, f"output_dir={output}"]) == 0
    return weights(output)


def test_strangers_are_refused_and_three_sites_train_to_the_simulations_bits(
    world: World, simulated: dict[str, bytes], tmp_path: Path
) -> None:
    consortium = Consortium.open(world.coordinator)
    with world.server("plain", *PLAIN, "rounds=3") as server:
        wait_for(lambda: is_listening(consortium.port), "the proxy")
        check_refusals(world, consortium, tmp_path)
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


def check_refusals(world: World, consortium: Consortium, folder: Path) -> None:
    """Whoever is not a site of this consortium, and whatever is not its server."""
    stranger = new_key(copy_of(world.kit("southgate"), folder / "stranger"))
    words = ["sites=[a]", "host=127.0.0.1", f"output_dir={folder / 'other'}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    foreign = copy_of(world.kit("southgate"), folder / "foreign")
    shutil.copy(folder / "other" / "kits" / "a" / "ca.crt", foreign / "ca.crt")
    with plaintext_server() as port:
        deceived = copy_of(world.kit("southgate"), folder / "deceived", port)
        said = run_sites(stranger, foreign, deceived)
    assert [code for code, _ in said] == [2, 2, 2]
    assert "knows no site with this key" in said[0][1]
    assert "is not the one of this kit" in said[1][1]
    assert "does not speak TLS" in said[2][1]
    for kit in (stranger, foreign, deceived):
        assert "refused by the server" in (kit / "audit.jsonl").read_text()

    plain = http.client.HTTPConnection("127.0.0.1", consortium.port, timeout=10)
    assert status_code(plain, "/v1/fleet/pull-messages") == 400
    context = ssl.create_default_context(cafile=str(consortium.ca_certificate))
    for path in ("/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task"):
        holder = http.client.HTTPSConnection("127.0.0.1", consortium.port, context=context)
        assert status_code(holder, path) == 403, path
    assert fedrounds.main(["client", str(world.kit("southgate")), "--check"]) == 0
    assert fedrounds.main(["client", str(folder / "foreign"), "--check"]) == 1


def status_code(connection: http.client.HTTPConnection, path: str) -> int:
    with closing(connection):
        connection.request("POST", path, b"")
        return connection.getresponse().status


@contextmanager
def plaintext_server() -> Iterator[int]:
    """Something that speaks HTTP where TLS is expected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield int(listener.getsockname()[1])


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


EVIL_CLIENT = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from flwr.clientapp import ClientApp
app = ClientApp()
"""
EVIL_SERVER = """
import json
from pathlib import Path
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    messages = [Message(RecordDict(), n, "train") for n in grid.get_node_ids()]
    codes = [reply.error.code for reply in grid.send_and_receive(messages, timeout=60)]
    Path({codes!r}).write_text(json.dumps(codes))
"""


def evil_bundle(folder: Path) -> bytes:
    """A bundle that brings a ``client/app.py`` of its own, as every ordinary Flower app does."""
    marker, codes = str(folder / "marker"), str(folder / "codes")
    files = {
        "pyproject.toml": PYPROJECT.replace("server.app:app", "evil.app:app").encode(),
        "client/__init__.py": b"",
        "client/app.py": EVIL_CLIENT.format(marker=marker).encode(),
        "evil/__init__.py": b"",
        "evil/app.py": EVIL_SERVER.format(codes=codes).encode(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower's own
        data: bytes = build_fab_from_files(files)[0]
    assert "client/app.py" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    return data


def test_a_site_is_killed_and_rejoins_one_pauses_and_foreign_code_is_refused(
    world: World, tmp_path: Path
) -> None:
    world.start_sites()
    victim = world.clients["eastbrook"]
    with world.server("faults", *PLAIN, "rounds=12", "deadline_seconds=10") as server:
        wait_for(lambda: world.rounds("faults"), "round 1")
        kill(victim)
        world.start_site("eastbrook")
        check_foreign_code(world, server, tmp_path)
        without = rounds_without(world, "eastbrook")
        wait_for(lambda: "eastbrook" in world.rounds("faults")[-1]["answered"], "its return")
        check_pause(world, "southgate")
        assert server.wait(TIMEOUT) == 0
    rounds = world.rounds("faults")
    assert [r["round"] for r in rounds] == list(range(1, 13))
    assert all(r["applied"] for r in rounds)
    assert all(len(r["answered"]) == 3 - len(r["refused"]) for r in rounds)
    assert set(rounds[-1]["answered"]) >= {"eastbrook", "northfield"}
    print("rounds without the killed site:", without, [r["seconds"] for r in rounds])


def rounds_without(world: World, site: str) -> list[int]:
    """The rounds of the run that left a site out; at least one is waited for."""

    def found() -> list[int]:
        return [r["round"] for r in world.rounds("faults") if site in r["refused"]]

    wait_for(found, f"a round without {site}")
    return found()


def check_pause(world: World, site: str) -> None:
    """A site's data manager stops it for a while; the federation goes on without it."""
    kit = str(world.kit(site))
    assert fedrounds.main(["client", "pause", kit]) == 0
    rounds_without(world, site)
    assert world.audit(site, "paused")
    assert fedrounds.main(["client", "resume", kit]) == 0
    before = len(world.audit(site, "connected"))
    wait_for(lambda: len(world.audit(site, "connected")) > before, "it to serve again")


def check_foreign_code(world: World, server: subprocess.Popen[bytes], folder: Path) -> None:
    """Somebody who has the coordinator's machine sends a bundle with code.

    The server's own SuperExec would not run it; so that one is held, and Flower's takes its place.
    """
    consortium = Consortium.open(world.coordinator)
    bundle, flower = evil_bundle(folder), world.coordinator / "flower"
    own = pid_of("server.deploy.superexec", server.pid)
    with Control(consortium.superlink_port, consortium.ca_certificate) as control:
        os.kill(own, signal.SIGSTOP)
        control.start(hashlib.sha256(bundle).hexdigest(), bundle)
        words = ["flower-superexec", "--root-certificates", str(consortium.ca_certificate)]
        words += ["--runtime-api-address", f"127.0.0.1:{consortium.superlink_port}"]
        words += ["--superexec-auth-secret-file", str(flower / "superexec.secret")]
        with subprocess.Popen(words, env=flower_environment(folder / "home")) as foreign:
            try:
                wait_for((folder / "codes").exists, "the answers to a foreign bundle")
            finally:
                foreign.terminate()
        os.kill(own, signal.SIGCONT)
    assert 7 in json.loads((folder / "codes").read_text())  # Flower's INVALID_FAB
    assert not (folder / "marker").exists()
    refused = world.audit("northfield", "bundle refused")
    assert refused[-1]["sha256"] == hashlib.sha256(bundle).hexdigest()
    assert "client/app.py" in refused[-1]["reason"]


def pid_of(words: str, parent: int) -> int:
    """The process of ``parent``'s family whose command holds ``words``."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True)
    rows = [line.strip().partition(" ") for line in done.stdout.splitlines()]
    family = family_of(parent)
    return next(int(pid) for pid, _, args in rows if words in args and int(pid) in family)


def test_with_privacy_ledgers_results_and_report_come_out(world: World) -> None:
    for site in SITES:  # each of its files is read anew for each message
        path = world.kit(site) / "site.yaml"
        values = yaml.safe_load(path.read_text())
        values["policy"] |= {"train_without_privacy": False, "epsilon_max": 8.0, "delta": 1e-3}
        path.write_text(yaml.safe_dump(values))
        assert fedrounds.main(["ledger", "init", str(world.kit(site))]) == 0
    asking = world.kit("southgate") / "consortium.yaml"
    asking.write_text(asking.read_text() + "approve: ask\n")
    world.start_sites()
    with world.server("private", *PRIVATE) as server:
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
    assert "ε" in (world.base / "private" / "report.html").read_text()
    approved = world.audit("southgate", "run approved")[-1]
    assert approved["by"] != "policy"
    assert 0 < approved["epsilon_run"] <= 8
