"""The tables of what models cost and of where their maps point: made small, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.checks import parse_experiment
from common.compose import load_settings
from common.errors import SettingsError
from common.models import MODELS, build_model
from common.parameters import arrays_of, count_parameters, trained_names
from simulations import cells
from simulations.benchmarks import ablation, explanation, light
from tests.conftest import EXPERIMENT

TINY = ["rounds=1", "local_steps=1", "engine.workers=1", "strategy.batch_size=4"]
OVERHEAD = 8_000
"""Most bytes of names, settings and heads of arrays in a message of this small model."""


@pytest.fixture(autouse=True)
def _small_hospitals(hospitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (light, explanation):
        monkeypatch.setattr(module, "kept_hospitals", lambda *_: hospitals)


def test_every_model_stands_in_the_table_of_costs() -> None:
    assert set(light.STEMS) == set(MODELS.names())


def test_bytes_are_those_of_a_packed_message() -> None:
    experiment = parse_experiment(EXPERIMENT)
    model = build_model(experiment)
    arrays = arrays_of(model)
    size = 4 * count_parameters(arrays)
    whole = light.wire_bytes(experiment, arrays, trained_names(model))
    assert size < whole["up"] < whole["down"] < size + OVERHEAD
    head = light.wire_bytes(experiment, arrays, frozenset(["head.bias"]))
    assert head["down"] == whole["down"]
    assert head["up"] < OVERHEAD / 8


def test_the_table_of_costs_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "STEMS", {"cnn": "small"})
    monkeypatch.setattr(light, "REPEATS", 3)
    words = [f"output_dir={tmp_path / 'light'}", "model.width=4", "data.image_size=16", *TINY]
    light.main(words)
    text = (tmp_path / "light" / "light.md").read_text()
    assert [row.split("|")[1].strip() for row in text.splitlines()[2:]] == [
        "cnn, width 4, small stem"
    ]
    (row,) = json.loads((tmp_path / "light" / "light.json").read_text())["rows"]
    assert 0 < row["milliseconds"]["least"] <= row["milliseconds"]["median"]
    assert 0 < row["bytes"]["up"] - 4 * row["parameters"] < OVERHEAD
    monkeypatch.setattr(cells, "simulate", lambda *_: pytest.fail("ran again"))
    light.main(words)
    assert (tmp_path / "light" / "light.md").read_text() == text


def test_the_table_of_maps_is_made_once_and_ends_with_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = (
        explanation.Arm("wsnet", "evidence", "evidence"),
        explanation.Arm("cnn", "linear", "gradcam"),
    )
    monkeypatch.setattr(explanation, "ARMS", arms)
    monkeypatch.setattr(explanation, "PRIVACY", ("none",))
    words = [f"output_dir={tmp_path / 'maps'}", "model.width=4", "data.image_size=32", *TINY]
    explanation.main(words)
    text = (tmp_path / "maps" / "explanation.md").read_text()
    assert [row.split("|")[1].strip() for row in text.splitlines()[2:]] == [
        "wsnet, evidence head", "cnn, linear head", explanation.CHANCE,
    ]  # fmt: skip
    rows = json.loads((tmp_path / "maps" / "explanation.json").read_text())["rows"]
    areas = [{f: figures["area"] for f, figures in row["findings"].items()} for row in rows]
    assert areas[0] == areas[1]  # both score the same images
    assert 0 < areas[0]["nodule"]["value"] < areas[0]["infiltrate"]["value"] < 0.2
    result = json.loads((tmp_path / "maps" / "wsnet-evidence-none-0" / "result.json").read_text())
    for finding, figures in rows[0]["findings"].items():  # all test images with the finding
        assert (
            figures["hit"]["support"] == result["metrics"]["auroc"][finding]["support"]["positives"]
        )
    monkeypatch.setattr(cells, "simulate", lambda *_: pytest.fail("ran again"))
    explanation.main(words)
    assert (tmp_path / "maps" / "explanation.md").read_text() == text


def test_without_a_folder_nothing_is_run() -> None:
    for main in (light.main, explanation.main):
        with pytest.raises(SettingsError, match="output_dir must be given"):
            main(["seed=1"])


def test_a_recipe_is_taken_apart_at_equal_epsilon_and_once(
    hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"data.root={hospitals}"
    monkeypatch.setattr(ablation, "PRETRAINING", (*ablation.PRETRAINING, root, *TINY))
    base = ("experiment=phantom", "privacy.epsilon=8", "privacy.public_patients=42", root)
    monkeypatch.setattr(ablation, "BASE", base)
    kept = (ablation.WHOLE, "automatic clip", "pretrained, head only, centred")
    rows = {"cnn": {name: ablation.ROWS["cnn"][name] for name in kept}}
    monkeypatch.setattr(ablation, "ROWS", rows)
    words = [f"output_dir={tmp_path / 'parts'}", "model.width=4", *TINY, "local_steps=2"]
    ablation.main(words)
    found = json.loads((tmp_path / "parts" / "ablation.json").read_text())["rows"]
    assert [row["row"] for row in found] == list(kept)
    assert all(7.5 < row["epsilon_run"] <= 8 for row in found)
    text = (tmp_path / "parts" / "ablation.md").read_text()
    change = found[2]["auroc_macro"]["value"] - found[0]["auroc_macro"]["value"]
    assert f"| {change:+.3f} |" in text.splitlines()[-1]
    monkeypatch.setattr(cells, "simulate", lambda *_: pytest.fail("ran again"))
    ablation.main(words)
    assert (tmp_path / "parts" / "ablation.md").read_text() == text


@pytest.mark.parametrize("recipe", ablation.ROWS)
def test_a_row_changes_what_it_names_and_no_privacy(recipe: str) -> None:
    words = [*ablation.BASE, *ablation.RECIPES[recipe], "data.root=x"]
    whole = load_settings(words)
    seen = [whole]
    for row, changes in ablation.ROWS[recipe].items():
        given = [f"{w}y" if w == ablation.PRETRAINED else w for w in changes]
        settings = load_settings([*words, *given])
        assert (settings in seen) == (row == ablation.WHOLE)
        for name in ("unit", "epsilon", "delta", "max_grad_norm"):
            assert getattr(settings.privacy, name) == getattr(whole.privacy, name)
        assert (settings.rounds, settings.local_steps) == (whole.rounds, whole.local_steps)
        seen.append(settings)
