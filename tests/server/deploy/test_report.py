"""A server's report: written, refused with its reason, and one that hangs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.journal import Journal, read_lines
from server.deploy import report


def test_a_folder_without_a_result_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.write_report(tmp_path, Journal(tmp_path))
    assert "no report was written: error:" in capsys.readouterr().out


def test_one_that_hangs_is_ended_and_says_where_it_stood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    slow.write_text(
        f"#!{sys.executable} -Xfaulthandler\n"
        "import time\ndef stuck():\n    time.sleep(60)\nstuck()\n"
    )
    slow.chmod(0o755)
    monkeypatch.setattr(report, "SECONDS", 2.0)
    monkeypatch.setattr(report.sys, "executable", str(slow))
    report.write_report(tmp_path, Journal(tmp_path))
    told = capsys.readouterr().out
    assert "within 2 s, 2 times" in told
    assert f"fedrounds report {tmp_path}" in told
    lines = [line["text"] for line in read_lines(tmp_path / "log.jsonl") if "process" in line]
    assert sum("in stuck" in line for line in lines) == report.TRIES
