"""The coordinator's processes: nginx, started as the server starts it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fedrounds
from common.errors import ProcessError
from common.journal import Journal
from common.processes import Children, free_port, is_listening
from server.deploy.superlink import CoordinatorProcesses
from server.provision.consortium import Consortium

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="needs nginx"
    ),
]


def test_the_proxy_is_looked_for_where_it_listens(tmp_path: Path) -> None:
    port = free_port()
    words = ["sites=[a]", "host=127.0.0.2", f"port={port}", f"output_dir={tmp_path / 'c'}"]
    assert fedrounds.main(["provision", *words, "zip=false"]) == 0
    consortium = Consortium.open(tmp_path / "c" / "coordinator")
    with Children(Journal(tmp_path)) as children:
        processes = CoordinatorProcesses(consortium, children, proxy=True)
        processes.start_proxy()
        assert is_listening(port, "127.0.0.2")
        assert not is_listening(port)
        with pytest.raises(ProcessError, match="is taken"):
            processes.start_proxy()
        assert processes.revive() == []
    assert not is_listening(port, "127.0.0.2")
