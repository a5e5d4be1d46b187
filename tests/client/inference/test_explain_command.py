"""``fedrounds explain``: pictures beside images, what maps are worth, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fedrounds
from client.gate.listing import list_folder
from client.inference.overlay import Panel, draw_overlay
from client.inference.trained import TrainedModel
from common.data.images import read_image
from common.data.transforms import normalise
from common.explain import choose_methods, faithfulness, saliency
from common.model_settings import ModelSettings
from common.models import MODELS

pytest.importorskip("captum")
Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
EVIDENCE = ModelSettings("cnn", 4, head="evidence")


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_has_maps_of_every_method(make_model: Make, name: str) -> None:
    """At the image's size, and not the same everywhere; the evidence's mean is the logit."""
    trained = TrainedModel.open(make_model(model=replace(EVIDENCE, name=name)))
    images = normalise(torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8))
    classes = torch.tensor([0, 1])
    for method in choose_methods(None, trained.model):
        maps = saliency(method, trained.model, images, classes)
        assert maps.shape == (2, 32, 32)
        assert (maps.flatten(1).amax(dim=1) > maps.flatten(1).amin(dim=1)).all()


@pytest.fixture
def images(hospitals: Path, tmp_path: Path) -> Path:
    """A folder of two DICOM files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for source in sorted((hospitals / "northfield" / "images").glob("*.dcm"))[:2]:
        (folder / source.name).write_bytes(source.read_bytes())
    return folder


def test_every_method_of_a_model_is_tried_and_drawn_beside_each_image(
    make_model: Make, images: Path, capsys: Capture
) -> None:
    folder = make_model(model=EVIDENCE)
    before = sorted(images.iterdir())
    assert fedrounds.main(["explain", str(folder), str(images), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["images"]
    assert [one["file"] for one in said] == [str(path) for path in before]
    trained = TrainedModel.open(folder)
    for one, path in zip(said, before, strict=True):
        assert one["overlay"] == f"{path}.explained.png"
        with Image.open(one["overlay"]) as picture:
            assert picture.width > 3 * picture.height > 900  # four panels
        seen = read_image(path, 32, 1)
        scores = trained.probabilities(seen[None])[0]
        k = int(scores.argmax())
        assert one["class_name"] == trained.classes[k]
        assert one["probability"] == pytest.approx(scores[k])
        assert list(one["faithfulness"]) == ["evidence", "gradcam", "integrated_gradients"]
        image = normalise(torch.tensor(seen))
        found = saliency("evidence", trained.model, image[None], torch.tensor([k]))[0]
        expected = faithfulness(lambda x, k=k: torch.sigmoid(trained.model(x))[:, k], image, found)
        worth = one["faithfulness"]["evidence"]
        assert worth["deletion"] == pytest.approx(expected.deletion, abs=1e-6)
        assert worth["insertion"] == pytest.approx(expected.insertion, abs=1e-6)
    # What was drawn is nobody's image: neither for the next command nor for a site.
    assert fedrounds.main(["predict", str(folder), str(images), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 2
    assert len(list_folder(images, []).manifest) == 2


def test_one_method_for_one_class_goes_where_it_is_told(
    make_model: Make, images: Path, tmp_path: Path, capsys: Capture
) -> None:
    before, output = sorted(images.iterdir()), tmp_path / "out"
    words = ["--method", "gradcam", "--class", "infiltrate", "--output", str(output)]
    assert fedrounds.main(["explain", str(make_model()), str(before[0]), *words]) == 0
    out = capsys.readouterr().out
    assert "gradcam" in out
    assert "integrated" not in out
    assert "infiltrate" in out
    assert "note: this model normalises over the whole image" in out
    (picture,) = output.iterdir()
    assert picture.name == f"{before[0].name}.explained.png"
    assert sorted(images.iterdir()) == before


def test_only_a_model_that_normalises_is_told_of(
    make_model: Make, images: Path, capsys: Capture
) -> None:
    model = make_model(model=ModelSettings("wsnet", 4, head="evidence"))
    words = ["--method", "evidence"]
    assert fedrounds.main(["explain", str(model), str(images), *words]) == 0
    assert "normalises" not in capsys.readouterr().out


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_explained(
    make_model: Make, images: Path, capsys: Capture
) -> None:
    first, second = sorted(images.iterdir())
    first.write_bytes(first.read_bytes()[:400])
    assert fedrounds.main(["explain", str(make_model()), str(first), str(second)]) == 1
    out, err = capsys.readouterr()
    assert f"not read: {first}" in err
    assert f"written: {second}.explained.png" in out
    assert not Path(f"{first}.explained.png").exists()


def test_evidence_needs_no_further_package(
    make_model: Make, images: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    folder = str(make_model(model=EVIDENCE))
    assert fedrounds.main(["explain", folder, str(images), "--method", "evidence"]) == 0
    assert fedrounds.main(["explain", folder, str(images)]) == 2
    assert "captum, which is not installed: pip install 'fedrounds[explain]'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["{model}"], "expected 'explain MODEL IMAGE…"),
        (["{model}", "{images}", "--method", "evidence"], "model.head=evidence"),
        (["{model}", "{images}", "--class", "noodle"], "did you mean 'nodule'?"),
        (["{model}", "{images}", "data.channels=3"], "the model's own file says the rest"),
        (["{model}", "{images}", "{copies}", "--output", "{out}"], "have the same name"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_written(
    make_model: Make, images: Path, tmp_path: Path, capsys: Capture, wrong: list[str], said: str
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in images.iterdir():
        (copies / path.name).write_bytes(path.read_bytes())
    names = {"model": make_model(), "images": images, "copies": copies, "out": tmp_path / "out"}
    assert fedrounds.main(["explain", *(word.format(**names) for word in wrong)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.explained.png"))


def test_a_map_is_drawn_where_it_is_high_and_the_image_is_seen_elsewhere() -> None:
    image = np.full((1, 64, 64), 100, np.uint8)
    high = np.zeros((8, 8), np.float32)
    high[:4, :4] = 2.0
    high[4:, 4:] = -9.0  # what speaks against the class is not drawn
    data = draw_overlay(image, "a class", [Panel("a map", high)])
    picture = Image.open(BytesIO(data)).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    grey = (np.abs(pixels - 100).max(axis=2) <= 2).nonzero()
    left, right = grey[1].min(), grey[1].max()
    top, bottom = grey[0].min(), grey[0].max()
    middle = (left + right) // 2
    panel = pixels[top : bottom + 1, middle + 8 : right + 1]
    height, width = panel.shape[:2]
    assert np.abs(panel[: height // 3, : width // 3] - 100).max() > 60
    assert np.abs(panel[2 * height // 3 :, 2 * width // 3 :] - 100).max() <= 2
