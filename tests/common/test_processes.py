"""Children end with what started them; journals hold a line for each thing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import MessageError, ProcessError, SettingsError
from common.journal import Journal, read_lines
from common.packing import is_packed, pack, unpack
from common.processes import Children, new_secret, terminated_like_ctrl_c, wait_until

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
STUBBORN += "time.sleep(60)"


def is_alive(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def test_a_child_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.processes.GRACE_SECONDS", 0.5)
    journal = Journal(tmp_path)
    heard: list[str] = []
    with Children(journal) as children:
        words = [sys.executable, "-c", STUBBORN]
        child = children.start("stubborn", words, os.environ, tmp_path, heard.append)
        wait_until(lambda: heard == ["up"], child, 10, "it")
    assert child.exit_code == -signal.SIGKILL
    assert {"process": "stubborn", "text": "up"}.items() <= read_lines(journal.log_path)[0].items()


def test_what_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Children(Journal(tmp_path)) as children:
        words = [sys.executable, "-c", "print('no port'); raise SystemExit(1)"]
        child = children.start("it", words, os.environ, tmp_path)
        with pytest.raises(ProcessError, match="did not start: no port"):
            wait_until(lambda: False, child, 10, "it")
        with pytest.raises(SettingsError, match="not installed"):
            children.start("x", ["no-such-command"], os.environ, tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from common.journal import Journal
from common.processes import Children
with Children(Journal(Path({str(tmp_path)!r}))) as children:
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    print(children.start("it", words, os.environ, Path()).process.pid, flush=True)
    time.sleep(60)
"""
    expect_child_gone_with_parent(script)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_a_fork_can_ask_for_the_same() -> None:
    expect_child_gone_with_parent("""
import os, time
from common.processes import end_with_starter
if os.fork():
    time.sleep(60)
end_with_starter()
print(os.getpid(), flush=True)
time.sleep(60)
""")


def expect_child_gone_with_parent(script: str) -> None:
    """Kill what runs a script that prints the id of its child."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_is_an_interruption() -> None:
    def be_terminated() -> None:
        with terminated_like_ctrl_c():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        be_terminated()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_secret_is_its_owners_alone_and_new_each_time(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = new_secret(path).read_bytes()
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert new_secret(path).read_bytes() != first


def test_a_journal_strips_colours_and_keeps_what_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path)
    journal.output("node", "\x1b[92mINFO \x1b[0m:   up")
    journal.output("node", "")
    journal.say("hello", round=1)
    journal.audit("approved", run_id="x")
    texts = [line.get("text", line.get("event")) for line in read_lines(journal.log_path)]
    assert texts == ["INFO :   up", "hello", "approved"]
    assert capsys.readouterr().out == "hello\n"
    assert [line["event"] for line in read_lines(journal.audit_path)] == ["approved"]


def test_a_message_is_packed_whole_and_damage_is_refused() -> None:
    import numpy as np
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

    from common.wire import to_bytes

    record = ArrayRecord({"a": Array(np.ones((2, 3), np.float32)), "b": Array(np.zeros(1))})
    content = RecordDict({"arrays": record, "config": ConfigRecord({"round": 3})})
    packed = pack(content)
    assert is_packed(packed)
    assert len(packed.array_records["packed"]) == 1
    assert to_bytes(unpack(packed)) == to_bytes(content)
    for wrong in (
        content,
        RecordDict(),
        RecordDict({"packed": ArrayRecord({"content": Array(np.ones(3))})}),
        RecordDict({"packed": ArrayRecord({"content": Array(np.frombuffer(b"?" * 9, np.uint8))})}),
        RecordDict({"packed": ArrayRecord({"other": Array(np.zeros(3, np.uint8))})}),
    ):
        with pytest.raises(MessageError):
            unpack(wrong)
