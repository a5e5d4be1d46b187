"""The command as a user has it: from a wheel, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.checkpoint import read_tensors

PROJECT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.integration


def words(hospitals: Path, output: Path) -> list[str]:
    return [
        "simulate", "privacy=none", f"data.root={hospitals}", f"output_dir={output}",
        "rounds=12", "local_steps=10", "model.width=8", "strategy.batch_size=16",
        "engine.workers=2",
    ]  # fmt: skip


def test_ctrl_c_ends_soon_and_the_run_goes_on_to_the_same_end(
    hospitals: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(PROJECT / "fedrounds.py")]
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    started = subprocess.Popen(
        [*command, *words(hospitals, cut)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # a shell without job control starts what runs in the background with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("round 2/"):
            break
    os.killpg(started.pid, signal.SIGINT)  # a terminal sends it to the whole group
    asked = time.monotonic()
    rest, _ = started.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert started.returncode == 130
    assert "Traceback" not in rest
    _, facts = read_tensors(cut / "checkpoint", "checkpoint")
    rounds = [json.loads(line)["round"] for line in (cut / "rounds.jsonl").read_text().splitlines()]
    assert rounds[: facts["round"]] == list(range(1, facts["round"] + 1))
    assert not (cut / "result.json").exists()

    subprocess.run([*command, "simulate", "--resume", str(cut)], check=True, capture_output=True)
    subprocess.run([*command, *words(hospitals, whole)], check=True, capture_output=True)
    resumed, uninterrupted = (read_tensors(run, "model")[0] for run in (cut, whole))
    assert {k: v.tobytes() for k, v in resumed.items()} == {
        k: v.tobytes() for k, v in uninterrupted.items()
    }


def test_a_wheel_holds_everything_and_runs_beside_a_foreign_common(tmp_path: Path) -> None:
    """Installed without this checkout, from a folder that has a ``common/`` of its own."""
    source, site = tmp_path / "source", tmp_path / "site"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "--no-deps", "--target", str(site), str(source)]
    subprocess.run(install, check=True, capture_output=True)
    listed = subprocess.run(
        ["git", "-C", str(source), "ls-files", "client", "common", "server", "simulations", "conf"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert "common/data/basic_profile.txt" in listed
    assert [file for file in listed if not (site / file).is_file()] == []
    foreign = tmp_path / "work" / "common"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("raise RuntimeError('foreign')")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(site / "bin" / "fedrounds"), *words],
            env=environment,
            cwd=foreign.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("simulate", "privacy=none", "rounds=1", "local_steps=1", "output_dir=out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experiment"] == "phantom"
    wrong = run("simulate", "privacy.epsilonn=3")
    assert wrong.returncode == 2
    assert "did you mean 'epsilon'" in wrong.stderr
    where = subprocess.run(
        [sys.executable, "-c", "import common.config, conf; print(common.config.__file__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
