"""What the gate does in a simulation: it plays the sites' policies and tells what they keep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import fedrounds
from tests.conftest import FAST

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A command over 60 images of 60 patients in one table; two equal images, labelled a and b."""
    rng, rows = np.random.default_rng(0), ["file,label,patient"]
    for number in range(60):
        pixels = rng.integers(0, 255, (32, 32)).astype(np.uint8)
        if number == 1:
            pixels = np.asarray(Image.open(tmp_path / "images" / "i0.png"))
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"i{number}.png")
        patient = f"P{number}" if number < 58 else "ANON"
        rows.append(f"i{number}.png,{'ab'[number % 2]},{patient}")
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(rows) + "\n")
    return [
        "simulate", *FAST, "data=table", f"data.root={tmp_path / 'images'}", "engine.workers=1",
        "data.image_column=file", "data.patient_column=patient", "data.classes=[a,b]",
        "privacy.public_patients=40", f"output_dir={tmp_path / 'run'}",
    ]  # fmt: skip


def test_placeholders_are_refused_and_left_out_where_the_policy_says_so(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert fedrounds.main(words) == 2
    error = capsys.readouterr().err
    assert "2 of 60 images have no patient id" in error
    assert "privacy.missing_patient=exclude" in error
    assert not (tmp_path / "run").exists()
    assert fedrounds.main([*words, "privacy.missing_patient=exclude"]) == 0
    out = capsys.readouterr().out
    assert "images: 58 images" in out
    assert "1 whose labels contradict each other (i0.png = i1.png)" in out
    written = yaml.safe_load((tmp_path / "run" / "sites" / "images" / "site.yaml").read_text())
    assert written["policy"]["missing_patient"] == "exclude"


def test_the_result_counts_the_images_that_are_used_and_those_that_are_not(
    words: list[str], tmp_path: Path
) -> None:
    images = tmp_path / "images"
    rows = (images / "metadata.csv").read_text().splitlines()
    for row in rows[3:6]:  # three patients get the same image again, one of them another too
        name, label, patient = row.split(",")
        for copy in range(2 if row == rows[5] else 1):
            (images / f"{copy}-{name}").write_bytes((images / name).read_bytes())
            rows.append(f"{copy}-{name},{label},{patient}")
    (images / "metadata.csv").write_text("\n".join(rows) + "\n")
    (images / "i20.png").write_bytes(b"nothing")  # the only image of its patient
    assert fedrounds.main([*words, "privacy.missing_patient=exclude"]) == 0
    (site,) = json.loads((tmp_path / "run" / "result.json").read_text())["sites"]
    assert (site["images_refused"], site["images_repeated"]) == (1, 4)
    assert sum(site["images"].values()) == sum(site["patients"].values()) == 57


def test_contradictions_end_a_run_where_the_policy_refuses_them(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    settings = ["privacy.missing_patient=exclude", "privacy.label_conflicts=refuse"]
    assert fedrounds.main([*words, *settings]) == 2
    assert "labels that contradict each other" in capsys.readouterr().err
    settle = "data.exclude=[i1.png]"
    assert fedrounds.main([*words, *settings, settle]) == 0
    assert "labels contradict" not in capsys.readouterr().out
