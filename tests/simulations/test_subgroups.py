"""Figures by group, from the sites' policies to the result, and as `evaluate` has them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedrounds
from tests.simulations.conftest import result_of

Simulate = Callable[..., tuple[int, Path]]
AGES = ["0 to under 40", "40 to under 60", "60 to under 80", "80 and over", "unknown"]


def supports(column: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Images by group, class and side."""
    return Counter(
        {
            (group, label, side): number
            for group, found in column["groups"].items()
            for label, figure in found["auroc"].items()
            for side, number in figure["support"].items()
        }
    )


def test_a_column_is_told_by_whom_its_policy_lets(
    simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["privacy=none", "privacy.subgroups=[age]", "evaluation.replicates=20"]
    code, output = simulate(*words)
    assert code == 0
    result = result_of(output)
    sex, age = (result["metrics"]["subgroups"][name] for name in ("sex", "age"))
    assert set(sex["sites"].values()) == {"withheld"}
    assert (sex["groups"], sex["gaps"]["auroc_macro"]["value"]) == ({}, None)
    assert set(age["sites"].values()) == {"shown"}
    assert [*age["groups"], *age["without_support"]] == AGES
    whole = result["metrics"]["auroc"]["nodule"]["support"]
    counted = supports(age)
    for side in ("positives", "negatives"):
        assert sum(counted[group, "nodule", side] for group in AGES) == whole[side]
    assert any(found["accuracy"]["low"] is not None for found in age["groups"].values())

    alone: Counter[tuple[str, str, str]] = Counter()
    for site in result["sites"]:
        folder = output / "sites" / site["name"]
        policy = yaml.safe_load((folder / "site.yaml").read_text())["policy"]
        assert policy["subgroups"] == {"age": {"values": [], "bands": [0, 40, 60, 80]}}
        lines = (folder / "disclosure.jsonl").read_text().splitlines()
        names = [name for line in lines for name in json.loads(line)["released"]]
        assert sum(name == "Brier score, of age 40 to under 60" for name in names) == 1
        assert not any("of sex" in name for name in names)
        capsys.readouterr()
        words = ["evaluate", str(output), str(folder), "--part", "test"]
        assert fedrounds.main([*words, "--json"]) == 0
        by = json.loads(capsys.readouterr().out)["metrics"]["subgroups"]
        assert by["sex"]["sites"] == {site["name"]: "shown"}
        alone += supports(by["age"])
    assert alone == counted
    assert fedrounds.main(words) == 0
    out = capsys.readouterr().out
    assert "by age" in out
    assert "false-negative rate of nodule" in out


def test_a_column_that_a_site_has_not_is_absent_and_few_are_withheld(simulate: Simulate) -> None:
    words = ["privacy=none", "data.metadata_columns=[age]", "privacy.subgroups=[age,sex]"]
    code, output = simulate(*words, "privacy.min_count=3", "evaluation.replicates=0")
    assert code == 0
    by = result_of(output)["metrics"]["subgroups"]
    assert set(by["sex"]["sites"].values()) == {"absent"}
    for number in supports(by["age"]).values():
        assert number == 0 or number >= 3
    assert by["age"]["gaps"]["auroc_macro"]["low"] is None
    lines = (output / "sites" / "southgate" / "disclosure.jsonl").read_text().splitlines()
    withheld = [name for line in lines for name in json.loads(line).get("withheld", ())]
    assert "nodule of age unknown" in withheld
