"""The command line: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.privacy.optimizer import PatientOptimizer
from common.errors import SettingsError
from simulations.audit.command import help_text, main
from simulations.audit.settings import AuditSettings, audit_settings

FAST = ["canaries=256", "steps=20", "privacy.sample_rate=0.5"]


def test_one_audit_tells_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FAST, f"output_dir={tmp_path / 'out'}"]) == 0
    text = capsys.readouterr().out
    for part in (
        "claimed: ε = PRV",
        "PLD",
        "RDP",
        "δ=1e-05",
        "for each patient (add-or-remove-one)",
        "256 canary patients",
        "confidence 99.9%",
        "detectable at most",
        "CONSISTENT with the claim",
    ):
        assert part in text
    assert "prove" not in text.lower()
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert found["verdict"] == "CONSISTENT"
    assert found["claim"]["adjacency"] == "add-or-remove-one"
    assert len(found["audits"][0]["checks"]) == 8
    assert (tmp_path / "out" / "inversion.png").stat().st_size > 10_000


def test_json_is_all_that_standard_output_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", *FAST, f"output_dir={tmp_path / 'out'}", "repeat=2", "seed=5"]) == 0
    written = capsys.readouterr()
    answer = json.loads(written.out)
    assert [audit["seed"] for audit in answer["audits"]] == [5, 6]
    assert "CONSISTENT 2 of 2 times" in written.err


def test_a_violation_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: PatientOptimizer) -> None:
        for p in self.params:
            p.grad = p.summed_grad.clone()

    monkeypatch.setattr(PatientOptimizer, "add_noise", silent)
    assert main([*FAST, f"output_dir={tmp_path / 'out'}"]) == 1
    answer = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert answer["verdict"] == "VIOLATION"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["canarys=9"], "unknown setting 'canarys', did you mean 'canaries'"),
        (["privacy.epsilom=3"], "did you mean 'epsilon'"),
        (["canaries=9"], "canaries: expected from 256 to 16384, got 9"),
        (["steps=0"], "steps: expected from 1 to 2000, got 0"),
        (["repeat=many"], "repeat: expected a whole number"),
        (["privacy.epsilon=-1"], "privacy.epsilon: expected above 0"),
        (["privacy.delta=1"], "privacy.delta: expected at least 1e-08, below 0.1, got 1"),
        (["privacy.sample_rate=2"], "privacy.sample_rate: expected above 0, at most 1"),
        (["northfield"], "northfield/site.yaml: expected a site's settings"),
        (["seed={"], "seed: expected a value"),
        (["privacy=3", "privacy.epsilon=3"], "privacy: is given both"),
    ],
)
def test_wrong_settings_are_named(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        main([*words, f"output_dir={tmp_path / 'out'}"])
    assert raised.value.exit_code == 2
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_every_wrong_value_is_reported_together() -> None:
    with pytest.raises(SettingsError) as raised:
        audit_settings(["steps=0", "canaries=1", "privacy.delta=7"])
    assert len(raised.value.problems) == 3


def test_a_folder_that_holds_something_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(SettingsError, match="not an empty folder"):
        main([f"output_dir={tmp_path}"])


def test_settings_are_read_as_yaml_writes_them() -> None:
    settings = audit_settings(["privacy.delta=1e-6", "privacy.epsilon=3", "steps=50"])
    assert settings.privacy.delta == 1e-6
    assert settings.privacy.epsilon == 3.0
    assert settings.steps == 50
    assert audit_settings([]) == AuditSettings()


def test_help_names_every_setting() -> None:
    for word in ("seed", "canaries", "steps", "repeat", "output_dir", "privacy.sample_rate"):
        assert word in help_text()
