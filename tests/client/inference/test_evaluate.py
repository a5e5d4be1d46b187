"""``fedrounds evaluate``: a run's own figures, any folder, labels that are not the model's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fedrounds
from tests.conftest import FAST

Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


def evaluated(capsys: Capture, *parts: object) -> dict[str, Any]:
    capsys.readouterr()
    assert fedrounds.main(["evaluate", *map(str, parts), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_sites_test_part_has_the_runs_own_figures(
    hospitals: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    words = ["privacy=none", "engine.workers=1", f"data.root={hospitals}", f"output_dir={run}"]
    assert fedrounds.main(["simulate", *FAST, *words]) == 0
    result = json.loads((run / "result.json").read_text())
    for site in result["sites"]:
        found = evaluated(capsys, run, run / "sites" / site["name"], "--part", "test")
        assert found["units"] == site["patients"]["test"]
        assert found["metrics"]["auroc_macro"] == site["metrics"]["auroc_macro"]
        for name in ("confusion", "at_specificity", "at_sensitivity", "calibrated", "conformal"):
            assert found["metrics"][name] == site["metrics"][name]
    point = result["metrics"]["operating_point"]
    assert found["metrics"]["operating_point"] == point
    assert fedrounds.main(["evaluate", str(run), str(run / "sites" / "southgate")]) == 0
    out = capsys.readouterr().out
    for part in ("for a specificity of 0.9", "the temperature", "Conformal sets"):
        assert part in out
    # The same images without their site.yaml, and all of them.
    folder = hospitals / "northfield"
    parts = [
        evaluated(capsys, run, folder, "data=phantom", "--part", part)
        for part in ("train", "validation", "test")
    ]
    everyone = evaluated(capsys, run, folder, "data=phantom")
    assert everyone["part"] == "all"
    assert everyone["units"] == sum(part["units"] for part in parts)
    assert everyone["images"] == sum(part["images"] for part in parts)
    (own,) = (site for site in result["sites"] if site["name"] == "northfield")
    for name, figure in parts[2]["metrics"]["auroc"].items():  # drawn by another name
        assert figure["value"] == own["metrics"]["auroc"][name]["value"]


def test_a_folders_layout_is_guessed_and_what_is_printed_names_every_class(
    make_model: Make, hospitals: Path, capsys: Capture
) -> None:
    assert fedrounds.main(["evaluate", str(make_model()), str(hospitals)]) == 0
    out = capsys.readouterr().out
    assert "part: all" in out
    assert "macro AUROC" in out
    assert "AUROC exact" in out
    assert "nodule" in out
    assert "infiltrate" in out


def test_an_unreadable_image_is_left_out_and_told(
    make_model: Make, tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / "data"
    for number in range(12):
        path = data / "xy"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:50])
    folder = make_model(multi_label=False, negative_label=None, classes=("x", "y"))
    found = evaluated(capsys, folder, data)
    assert found["images"] == 11
    assert found["unit"] == "image"
    (refused,) = found["refused"]
    assert refused["file"] == "y/11.png"
    assert not {p.name for p in data.iterdir()} - {"x", "y"}  # nothing is written there


@pytest.mark.parametrize(
    ("model", "words", "problem"),
    [
        (
            {"classes": ("infiltrate", "nodule")},
            ["data=phantom"],
            "data.classes is ('nodule', 'inf",
        ),
        ({"classes": ("nodule", "cyst")}, ["data=phantom"], "the model's is ('nodule', 'cyst')"),
        ({"classes": ("nodule", "cyst")}, [], "label 'infiltrate'"),
        ({"multi_label": False}, ["data=phantom", "data.multi_label=true"], "data.multi_label is"),
        ({"negative_label": "clear"}, ["data=phantom"], "data.negative_label is No Finding"),
    ],
)
def test_another_label_list_is_refused(
    make_model: Make,
    hospitals: Path,
    capsys: Capture,
    model: dict[str, Any],
    words: list[str],
    problem: str,
) -> None:
    folder = make_model(**model)
    assert fedrounds.main(["evaluate", str(folder), str(hospitals / "northfield"), *words]) == 2
    assert problem in capsys.readouterr().err


def test_a_site_that_allows_other_classes_refuses(
    make_model: Make, make_site: Callable[..., Any], capsys: Capture
) -> None:
    site = make_site({"P1": 2, "P2": 1}, classes=["a", "b"])
    assert fedrounds.main(["evaluate", str(make_model()), str(site.folder)]) == 2
    assert "data.classes is ('a', 'b')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["{model}"], "expected 'evaluate MODEL DATA"),
        (["{model}", "{data}", "--part", "tst"], "unknown part, did you mean 'test'?"),
        (["{model}", "nowhere"], "expected a site's folder or a folder of images"),
        (["{data}", "{data}"], "model.json: cannot be read"),
        (["{model}", "{model}/bare"], "how its labels are laid out cannot be told"),
        (["{model}", "{data}", "data=phantm"], "did you mean 'phantom'?"),
    ],
)
def test_wrong_words_are_told(
    make_model: Make, hospitals: Path, capsys: Capture, wrong: list[str], said: str
) -> None:
    folder = make_model()
    (folder / "bare").mkdir()
    Image.new("L", (8, 8)).save(folder / "bare" / "one.png")
    names = {"model": folder, "data": hospitals}
    assert fedrounds.main(["evaluate", *(word.format(**names) for word in wrong)]) == 2
    assert said in capsys.readouterr().err
