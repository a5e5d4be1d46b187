"""Real public images, each data set by its one documented command, with few rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fedrounds

pytestmark = pytest.mark.integration

FEW = ["rounds=2", "local_steps=3", "model.width=8", "data.image_size=28", "engine.workers=1"]


@pytest.fixture
def run(real_images: Path, tmp_path: Path) -> Any:
    def simulate(name: str, *words: str) -> dict[str, Any]:
        command = ["simulate", f"experiment={name}", f"data.root={real_images / name}"]
        assert fedrounds.main([*command, f"output_dir={tmp_path / 'run'}", *FEW, *words]) == 0
        result: dict[str, Any] = json.loads((tmp_path / "run" / "result.json").read_text())
        return result

    return simulate


def images_of(result: dict[str, Any]) -> int:
    return sum(sum(site["images"].values()) for site in result["sites"])


def test_nih_cxr_trains_with_several_labels_under_patient_privacy(run: Any) -> None:
    result = run("nih_cxr", "rounds=1", "strategy.batch_size=8")
    assert images_of(result) == 1000
    assert len(result["model"]["classes"]) == 14
    assert {site["privacy"]["unit"] for site in result["sites"]} == {"patient"}
    assert result["simulation"]["units_at_two_sites"]["count"] == 0


def test_busi_trains_by_folders_and_its_conflict_is_reported(
    run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run("busi", "privacy=none")
    assert images_of(result) == 780
    assert result["model"]["classes"] == ["normal", "benign", "malignant"]
    assert result["simulation"]["unit"] == "image"
    told = capfd.readouterr().out
    assert "benign/benign (433).png = malignant/malignant (145).png" in " ".join(told.split())


def test_pneumoniamnist_trains_from_its_npz_under_image_privacy(run: Any) -> None:
    result = run("pneumoniamnist", "rounds=1")
    units = sum(sum(site["patients"].values()) for site in result["sites"])
    assert units == images_of(result) == 5002  # identical images are one unit, and count once
    assert sum(site["images_repeated"] for site in result["sites"]) == 28
    assert {site["privacy"]["unit"] for site in result["sites"]} == {"image"}
    assert result["metrics"]["auroc_macro"]["value"] is not None
