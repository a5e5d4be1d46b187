"""The loops that a run is measured against do run, and tables say what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from common.compose import settings_from_plain
from common.config import PrivacyTarget
from simulations.benchmarks import bare, engines, gradient_modes, speed, virtual
from simulations.benchmarks.command import take_word
from simulations.benchmarks.memory import cost_of


@pytest.mark.parametrize("unit", ["none", "patient"])
def test_a_bare_loop_takes_the_steps_of_all_sites_together(
    unit: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_from_plain(yaml.safe_load((finished_run / "config.yaml").read_text()))
    experiment = speed.shared(settings)
    if unit == "none":
        experiment = replace(experiment, privacy=PrivacyTarget("none"))
    (tmp_path / "experiment.yaml").write_text(experiment.to_yaml())
    bare.main([str(finished_run), str(tmp_path / "experiment.yaml"), "1", "1"])
    seconds = json.loads(capsys.readouterr().out)
    assert set(seconds) == {"decode", "evaluate", "train"}
    assert all(value > 0 for value in seconds.values())
    parts = bare.pooled(sorted((finished_run / "sites").iterdir()), experiment)
    loop = bare.plain_steps if unit == "none" else bare.private_steps
    model = speed.build_model(experiment)
    before = [p.detach().clone() for p in model.parameters()]
    assert len(list(loop(model, parts["train"], experiment, 3))) == 3
    assert any((p != q).any() for p, q in zip(model.parameters(), before, strict=True))


def test_a_benchmarks_own_words_are_no_settings() -> None:
    words = ["sites=3,10", "rounds=2"]
    assert take_word(words, "sites", "50") == ("3,10", ["rounds=2"])
    assert take_word(words, "repeats", "1") == ("1", words)


def test_tables_give_medians_spread_and_ratios_of_medians() -> None:
    row = {"row": "plain", "sites": 4, "steps": 80, "noise": 0.0}
    said = speed.table([{**row, "ours": [3.0, 9.0, 6.0], "bare": [4.0, 5.0, 6.0]}])
    assert "| plain | 4, 80 | 6.0 (3.0 to 9.0) | 5.0 (4.0 to 6.0) | 1.20 | none |" in said
    costs = {
        engine: {"seconds": [seconds], "mebibytes": [100.0]}
        for engine, seconds in zip(engines.ENGINES, (2.0, 8.0, 10.0), strict=True)
    }
    said = engines.table([{"sites": 3, **costs}])
    assert "| 3 | 2.0 | 8.0 | 10.0 | 100 | 100 | 100 | 5.0 |" in said
    many = {"sites": 1000, "round_seconds": [40.0], "mebibytes": 1200.0, "seconds": 300.0}
    assert "| 1,000 | 40.0 | 40 | 1,200 | 300 |" in virtual.table([many])
    modes = {"cnn": {"ours": 3.0, "hooks": 4.0, "functorch": 5.0, "ew": "ValueError: no"}}
    assert "| cnn, 64 | 3.0 | 4.0 | 5.0 | not: ValueError: no |" in gradient_modes.table(modes)


def test_the_cost_of_a_command_is_that_of_all_its_processes() -> None:
    hold = "import time; held = bytearray(b'x') * 2**26; time.sleep(1.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    cost = cost_of("-c", f"{start}; print('said')")
    assert cost.said == "said\n"
    assert cost.seconds >= 1.5
    assert 64 < cost.mebibytes < 200
