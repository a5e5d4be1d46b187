"""Who is no site of this consortium, and what is not its server, is refused and audited."""

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
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
from flwr.cli.build import build_fab_from_files

import fedrounds
from common.bundle import PYPROJECT
from common.flower import flower_environment
from common.journal import read_lines
from common.processes import is_listening
from server.deploy.control import Control
from server.provision.consortium import Consortium
from server.provision.renew import renew
from simulations.loopback import COMMAND, spawn
from tests.integration.consortium import (
    MARKS,
    PLAIN,
    TIMEOUT,
    World,
    copy_of,
    new_key,
    pid_of,
    wait_for,
)

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """A server that waits for its sites."""
    port = Consortium.open(world.coordinator).port
    with world.server("waiting", *PLAIN, "rounds=100", "wait_seconds=600") as process:
        wait_for(lambda: is_listening(port), "the proxy")
        yield process


@pytest.fixture
def consortium(world: World, server: subprocess.Popen[bytes]) -> Consortium:
    """The consortium of a server that runs."""
    assert server.poll() is None
    return Consortium.open(world.coordinator)


def test_strangers_and_servers_that_are_another_one(
    world: World, consortium: Consortium, tmp_path: Path
) -> None:
    stranger = new_key(copy_of(world.kit("southgate"), tmp_path / "stranger"))
    words = ["sites=[a]", "host=127.0.0.1", f"output_dir={tmp_path / 'other'}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    foreign = copy_of(world.kit("southgate"), tmp_path / "foreign")
    shutil.copy(tmp_path / "other" / "kits" / "a" / "ca.crt", foreign / "ca.crt")
    with plaintext_server() as port:
        deceived = copy_of(world.kit("southgate"), tmp_path / "deceived", port)
        said = run_sites(stranger, foreign, deceived)
    assert [code for code, _ in said] == [2, 2, 2]
    assert "knows no site with this key" in said[0][1]
    assert "is not the one of this kit" in said[1][1]
    assert "does not speak TLS" in said[2][1]
    for kit in (stranger, foreign, deceived):
        assert "refused by the server" in (kit / "audit.jsonl").read_text()
    wait_for(lambda: refused_calls(world, "/v1/fleet/activate-node"), "the stranger's audit line")
    assert fedrounds.main(["client", str(world.kit("southgate")), "--check"]) == 0
    assert fedrounds.main(["client", str(foreign), "--check"]) == 1


def test_plaintext_and_all_but_the_fleets_calls(world: World, consortium: Consortium) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", consortium.port, timeout=10)
    assert status_code(plain, "/v1/fleet/pull-messages") == 400
    context = ssl.create_default_context(cafile=str(consortium.ca_certificate))
    for path in ("/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task"):
        holder = http.client.HTTPSConnection("127.0.0.1", consortium.port, context=context)
        assert status_code(holder, path) == 403, path
        wait_for(lambda path=path: refused_calls(world, path), "the coordinator's audit line")
    assert refused_calls(world, "/v1/fleet/pull-messages")[0]["status"] == "400"


def refused_calls(world: World, uri: str) -> list[dict[str, str]]:
    lines = read_lines(world.coordinator / "audit.jsonl")
    return [line for line in lines if line["event"] == "refused a call" and line["uri"] == uri]


@pytest.mark.parametrize("words", [["run", "."], ["supernode", "register", "node.pub"]])
def test_flowers_own_commands_from_a_kit(
    world: World, consortium: Consortium, words: list[str], tmp_path: Path
) -> None:
    """Whoever holds a kit, and so ``ca.crt``, starts no run and registers no node."""
    kit = new_key(copy_of(world.kit("southgate"), tmp_path / "kit"))
    (kit / "pyproject.toml").write_text(PYPROJECT)
    home = tmp_path / "home"
    environment = flower_environment(home)
    address = f"{consortium.host}:{consortium.port}"
    connection = {"address": address, "root-certificates": str(kit / "ca.crt")}
    (home / "config.toml").write_text(tomli_w.dumps({"superlink": {"there": connection}}))
    flower = Path(sys.executable).with_name("flwr")
    before = len(read_lines(world.coordinator / "audit.jsonl"))
    done = subprocess.run(
        [str(flower), *words, "there"], cwd=kit, env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "403" in done.stdout + done.stderr or "Permission" in done.stdout + done.stderr

    def audited() -> bool:
        lines = read_lines(world.coordinator / "audit.jsonl")[before:]
        return any(line["event"] == "refused a call" for line in lines)

    wait_for(audited, "the coordinator's audit line")


def test_a_server_with_another_name_or_an_expired_certificate(
    world: World, consortium: Consortium, tmp_path: Path
) -> None:
    named = another_consortium(tmp_path / "named", "fl.example.org")
    expired = another_consortium(tmp_path / "expired", "127.0.0.1")
    renew(expired, 1, datetime.now(UTC) - timedelta(days=2))
    kits = []
    with tls_server(named) as one, tls_server(expired) as two:
        for folder, port in ((named, one), (expired, two)):
            kit = copy_of(world.kit("southgate"), folder.parent / "deceived", port)
            shutil.copy(folder / "ca.crt", kit / "ca.crt")
            kits.append(kit)
        said = run_sites(*kits)
    assert [code for code, _ in said] == [2, 2]
    assert "has another name" in said[0][1]
    assert "expired" in said[1][1]
    for kit in kits:
        assert "refused by the server" in (kit / "audit.jsonl").read_text()
    serve = ["server", str(expired), *PLAIN]
    assert fedrounds.main([*serve, f"output_dir={tmp_path / 'run'}"]) == 2
    assert not (tmp_path / "run").exists()


def another_consortium(folder: Path, host: str) -> Path:
    """Its coordinator's folder."""
    words = ["sites=[a]", f"host={host}", f"output_dir={folder}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    return folder / "coordinator"


def tls_server(folder: Path) -> AbstractContextManager[int]:
    """Something that speaks TLS with the certificate of a coordinator's folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")

    def shake_hands(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    return listening(shake_hands)


def plaintext_server() -> AbstractContextManager[int]:
    """Something that speaks HTTP where TLS is expected."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    return listening(answer)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of loopback; ``answer`` meets each connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # the block has ended
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):  # whoever was deceived goes away
                        answer(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])


WRONG_CLOCK = """
import datetime, time
class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds={offset})
right = time.time
datetime.datetime, time.time = Wrong, lambda: right() + {offset}
"""
"""Imported by every Python of the site before anything else (``sitecustomize``)."""


@pytest.mark.parametrize("offset", [-310, 10])
def test_a_clock_that_is_wrong(
    world: World, consortium: Consortium, offset: int, tmp_path: Path
) -> None:
    kit = copy_of(world.kit("southgate"), tmp_path / "kit")
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK.format(offset=offset))
    words = [*COMMAND, "client", str(kit)]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    check = subprocess.run([*words, "--check"], env=environment, capture_output=True, text=True)
    assert check.returncode == 1
    assert "use NTP" in check.stdout
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this machine's clock" in done.stdout + done.stderr
    assert "refused by the server" in (kit / "audit.jsonl").read_text()


def run_sites(*folders: Path) -> list[tuple[int, str]]:
    """Clients that are expected to be refused: the exit code of each, and what it said."""
    logs = [folder / "said" for folder in folders]
    started = [spawn(["client", str(f)], log) for f, log in zip(folders, logs, strict=True)]
    return [(process.wait(60), log.read_text()) for process, log in zip(started, logs, strict=True)]


def status_code(connection: http.client.HTTPConnection, path: str) -> int:
    with closing(connection):
        connection.request("POST", path, b"")
        return connection.getresponse().status


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


def test_foreign_code_and_a_site_that_is_revoked(
    world: World, server: subprocess.Popen[bytes], consortium: Consortium, tmp_path: Path
) -> None:
    world.start_sites()
    wait_for(lambda: world.rounds("waiting"), "round 1")
    check_foreign_code(world, server, consortium, tmp_path)
    revoked = world.clients.pop("eastbrook")
    assert fedrounds.main(["provision", "revoke", str(world.coordinator), "eastbrook"]) == 0
    assert revoked.wait(TIMEOUT) == 2
    assert "revoked" in world.audit("eastbrook", "refused by the server")[-1]["reason"]
    lines = read_lines(world.coordinator / "audit.jsonl")
    assert "unregistered" in [line["event"] for line in lines if line.get("site") == "eastbrook"]


def check_foreign_code(
    world: World, server: subprocess.Popen[bytes], consortium: Consortium, folder: Path
) -> None:
    """Somebody who has the coordinator's machine sends a bundle with code.

    The server's own SuperExec would not run it; so that one is held, and Flower's takes its place.
    """
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
