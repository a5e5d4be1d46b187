"""Mutual TLS with Flower's own processes: ``docs/try_consortium.sh`` with it, then revocations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fedrounds
from common.journal import read_lines
from common.processes import free_port, is_listening
from server.provision.consortium import Consortium
from simulations.loopback import SITES, spawn, terminate
from tests.conftest import PROJECT
from tests.integration.consortium import MARKS, wait_for

pytestmark = MARKS

SCRIPT_SECONDS = 240


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the documented script, with mutual TLS."""
    folder = tmp_path_factory.mktemp("documented") / "try"
    words = [str(PROJECT / "docs" / "try_consortium.sh"), str(folder), "mutual_tls=true"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*words, f"port={free_port()}", f"superlink_port={free_port()}"],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, timeout=SCRIPT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"results: {folder / 'run' / 'result.json'}" in done.stdout
    return folder


def test_the_documented_script_makes_a_consortium_train_and_ends_it(tried: Path) -> None:
    result = json.loads((tried / "run" / "result.json").read_text())
    assert result["rounds"] == 3
    assert sorted(site["name"] for site in result["sites"]) == list(SITES)
    assert all(site["privacy"]["source"] == "ledger" for site in result["sites"])
    assert (tried / "run" / "report.html").exists()
    processes = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True).stdout
    assert str(tried) not in processes
    consortium = Consortium.open(tried / "consortium" / "coordinator")
    seen = read_lines(consortium.folder / "proxy" / "access.jsonl")
    assert {line["certificate"].count("CN=SHA256:") for line in seen} == {1}
    assert len({line["certificate"] for line in seen}) == len(SITES)


@contextmanager
def process(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    started = spawn(words, log)
    try:
        yield started
    finally:
        terminate(started)


def test_a_revoked_site_is_refused_by_the_proxy_while_the_server_runs(
    tried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    consortium = Consortium.open(tried / "consortium" / "coordinator")
    northfield, southgate = (consortium.folder.parent / "kits" / s for s in SITES[1:])
    training = ["experiment=phantom", "privacy=none", "wait_seconds=120"]
    output = f"output_dir={tmp_path / 'run'}"
    with process(["server", str(consortium.folder), *training, output], tmp_path / "server"):
        wait_for(lambda: is_listening(consortium.port), "the proxy")
        assert fedrounds.main(["client", str(southgate), "--check"]) == 0
        with process(["client", str(southgate)], tmp_path / "client") as client:
            log = tmp_path / "client"  # Flower may take it for connected still
            wait_for(lambda: "connected to" in log.read_text(), "southgate to connect")
            assert fedrounds.main(["provision", "revoke", str(consortium.folder), "southgate"]) == 0
            assert client.wait(60) == 2
        assert "the key was revoked" in (tmp_path / "client").read_text()
        assert read_lines(southgate / "audit.jsonl")[-2]["event"] == "refused by the server"
        capsys.readouterr()
        assert fedrounds.main(["client", str(southgate), "--check"]) == 1
        assert "does not accept this site's certificate" in capsys.readouterr().out
        assert fedrounds.main(["client", str(northfield), "--check"]) == 0
        check_another_server(northfield, tmp_path)


def check_another_server(kit: Path, folder: Path) -> None:
    """A site whose kit is of another CA ends, and says that this is not its server."""
    words = ["sites=[a]", "host=127.0.0.1", f"output_dir={folder / 'other'}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    deceived = folder / "deceived"
    shutil.copytree(kit, deceived, ignore=shutil.ignore_patterns("flower", "*.lock", "*.jsonl"))
    shutil.copy(folder / "other" / "kits" / "a" / "ca.crt", deceived / "ca.crt")
    with process(["client", str(deceived)], folder / "said") as client:
        assert client.wait(60) == 2
    assert "is not the one of this kit" in (folder / "said").read_text()
    assert read_lines(deceived / "audit.jsonl")[-2]["event"] == "refused by the server"
