"""The systemd units: accepted by systemd, and as narrow as the processes bear."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from server.provision.consortium import Consortium

WIDEST = 30
"""Tenths of ``systemd-analyze security``'s exposure, from 0 to 100; an unhardened unit has 96."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)


@pytest.fixture(params=["server", "client"])
def unit(request: pytest.FixtureRequest, consortium: Consortium, tmp_path: Path) -> Path:
    """A generated unit, with commands that this machine has."""
    name = f"fedrounds-{request.param}.service"
    kit = consortium.folder.parent / "kits" / "north"
    folder = {"server": consortium.folder, "client": kit}[request.param]
    text = (folder / name).read_text(encoding="utf-8")
    written = tmp_path / name
    written.write_text(text.replace("/opt/fedrounds/bin/fedrounds", "/bin/true"), encoding="utf-8")
    return written


def analyse(unit: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words, str(unit)], capture_output=True, text=True, check=False
    )


@needs_systemd
def test_systemd_accepts_the_unit(unit: Path) -> None:
    done = analyse(unit, "verify")
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMood=mixed"))
    assert "KillMood" in analyse(unit, "verify").stderr


@needs_systemd
def test_the_unit_is_confined(unit: Path) -> None:
    words = ["security", "--offline=true", "--no-pager"]
    if analyse(unit, *words).returncode != 0:
        pytest.skip("this systemd-analyze judges no unit that is not loaded")
    done = analyse(unit, *words, f"--threshold={WIDEST}")
    assert done.returncode == 0, done.stdout[-200:]


def test_one_folder_can_be_written(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert "ProtectSystem=strict" in lines
    folder = {"fedrounds-server": "coordinator", "fedrounds-client": "north"}[unit.stem]
    paths = [line for line in lines if line.startswith("ReadWritePaths=")]
    assert paths == [f"ReadWritePaths=/srv/fedrounds/{folder}"]
