"""The table of what privacy costs each group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import SettingsError
from simulations.benchmarks import fairness
from tests.conftest import FAST

CELLS = ("plain", "private")


def test_two_runs_that_differ_in_privacy_alone_make_the_table(
    hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"output_dir={tmp_path / 'fair'}", f"data.root={hospitals}", "engine.workers=1"]
    words += [*FAST, "rounds=1", "privacy.public_patients=42", "evaluation.replicates=10"]
    fairness.main(words)
    text = (tmp_path / "fair" / "fairness.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines()[2:]]
    assert {row[0].strip("| ") for row in rows} == {"sex", "age"}
    facts = json.loads((tmp_path / "fair" / "fairness.json").read_text())
    assert [site["unit"] for site in facts["privacy"]] == ["patient", "patient"]
    for name, privacy in (("plain", None), ("private", "patient")):
        result = json.loads((tmp_path / "fair" / f"{name}-0" / "result.json").read_text())
        assert {(s["privacy"] or {}).get("unit") for s in result["sites"]} == {privacy}
        f = result["metrics"]["subgroups"]["sex"]["groups"]["F"]["auroc_macro"]["value"]
        assert f == facts["subgroups"][name]["sex"]["groups"]["F"]["auroc_macro"]["value"]
        assert any(f"{f:.3f}" in row[3 if name == "plain" else 4] for row in rows)
    values = [facts["subgroups"][n]["sex"]["groups"]["F"]["auroc_macro"]["value"] for n in CELLS]
    change = facts["cost"]["sex"]["F"]["auroc_macro"]
    assert change["value"] == pytest.approx(values[1] - values[0])
    assert change["low"] < change["value"] < change["high"]
    assert not list((tmp_path / "fair").glob("*/sites/*/cache"))
    monkeypatch.setattr("simulations.cells.simulate", lambda *_: pytest.fail("ran again"))
    fairness.main(words)


@pytest.mark.parametrize("words", [["privacy=none"], ["evaluation.subgroups={}"]])
def test_without_privacy_or_groups_there_is_nothing_to_compare(
    words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="compared with the same one without privacy"):
        fairness.main([f"output_dir={tmp_path}", *words])
