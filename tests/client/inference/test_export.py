"""``fedrounds export``: onnxruntime says what PyTorch says, and the file says what it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

import fedrounds
from client.inference import onnx_graph
from client.inference.export import check_images, open_session, run
from client.inference.onnx_graph import to_onnx
from client.inference.trained import TrainedModel
from common.model_settings import ModelSettings, Norm
from common.models import densenet
from simulations.hospitals import HOSPITALS, draw_image

Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


def phantom_images(count: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images uint8 (count, 1, 32, 32) with their findings (count, 2)."""
    rng = np.random.default_rng(5)
    findings = rng.random((count, 2)) < 0.3
    images = np.empty((count, 1, 32, 32), np.uint8)
    for number in range(count):
        anatomy = rng.normal([0, 0.40, 0.68, 0], [0.05, 0.03, 0.05, 0.1])
        there = bool(findings[number, 0]), bool(findings[number, 1])
        drawn, _ = draw_image(HOSPITALS[3], there, anatomy, rng)
        grey = Image.fromarray((255 * drawn).astype(np.uint8))
        images[number, 0] = np.asarray(grey.resize((32, 32)))
    return images, findings


@pytest.mark.parametrize("name", ["cnn", "scatter", "wsnet"])
def test_onnxruntime_has_the_auroc_of_pytorch_on_a_thousand_images(
    make_model: Make, name: str, capsys: Capture
) -> None:
    folder = make_model(model=ModelSettings(name, 8))
    assert fedrounds.main(["export", str(folder), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    data = (folder / "model.onnx").read_bytes()
    assert written["path"] == str(folder / "model.onnx")
    assert written["size"] == len(data)
    assert 0 <= written["largest_difference"] < 1e-4
    assert written["milliseconds"] > 0
    images, findings = phantom_images(1000)
    session, trained = open_session(data), TrainedModel.open(folder)
    ours, theirs = trained.probabilities(images), run(session, images)
    assert theirs.shape == (1000, 2)
    for k in range(2):
        aurocs = [roc_auc_score(findings[:, k], scores[:, k]) for scores in (ours, theirs)]
        assert aurocs[0] == pytest.approx(aurocs[1], abs=1e-4)
        assert abs(aurocs[0] - 0.5) > 0.01  # it is no coin
    assert np.abs(ours - theirs).max() < 1e-5
    one = run(session, images[:1])  # any number of images
    assert one[0] == pytest.approx(theirs[0], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "norm", "head", "stem"),
    [
        ("cnn", "group", "evidence", "small"),
        ("wsnet", "group", "evidence", "small"),
        ("scatter", "group", "evidence", "small"),
        ("resnet18", "folded", "linear", "small"),
        ("resnet18", "group", "evidence", "imagenet"),
        ("mobilenet", "group", "linear", "small"),
        ("mobilenet", "group", "evidence", "imagenet"),
        ("densenet121", "folded", "linear", "imagenet"),
        ("densenet121", "group", "evidence", "small"),
    ],
)
def test_every_model_says_the_same_in_onnxruntime(
    make_model: Make, monkeypatch: pytest.MonkeyPatch,
    name: str, norm: Norm, head: Literal["linear", "evidence"],
    stem: Literal["small", "imagenet"],
) -> None:  # fmt: skip
    """Beside the two above; of densenet121 a few layers, since all take PyTorch half a minute."""
    monkeypatch.setattr(densenet, "LAYERS", (1, 2, 1, 1))
    channels = 1 if head == "linear" else 3
    folder = make_model(
        model=ModelSettings(name, 4, norm=norm, head=head, stem=stem), channels=channels
    )
    trained = TrainedModel.open(folder)
    images = check_images(3, channels, 32)
    ours = trained.probabilities(images)
    assert np.ptp(ours, axis=0).max() > 1e-4  # it looks at the images
    assert np.abs(run(open_session(to_onnx(trained)), images) - ours).max() < 1e-5


def test_the_file_says_what_it_is_and_nothing_of_the_machine(
    make_model: Make, capsys: Capture
) -> None:
    folder = make_model(
        multi_label=False, negative_label=None, classes=("β", "x, y"), resize="pad", channels=3
    )
    output = folder / "there.onnx"
    assert fedrounds.main(["export", str(folder), "--output", str(output)]) == 0
    assert "on one core" in capsys.readouterr().out
    data = output.read_bytes()
    session = open_session(data)
    said = {
        key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()
    }
    assert said["classes"] == ["β", "x, y"]
    assert said["multi_label"] is False
    assert said["operating_point"] is None
    assert said["run_id"] == "a-run"
    assert said["preprocessing"]["resize"] == "pad"
    assert said["preprocessing"]["size"] == [32, 32]
    assert said["preprocessing"]["channels"] == "RGB"
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [3, 32, 32])
    assert [one.name for one in session.get_outputs()] == ["logits", "probabilities"]
    images = check_images(7, 3, 32)
    assert run(session, images).sum(axis=1) == pytest.approx(np.ones(7), abs=1e-6)
    for word in (b"stack_trace", b".py", b"pkg.torch"):
        assert word not in data


def test_a_graph_that_says_something_else_is_not_written(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def shifted(images: torch.Tensor) -> torch.Tensor:
        return images.float() / 255 - 0.4

    monkeypatch.setattr(onnx_graph, "normalise", shifted)
    folder = make_model()
    assert fedrounds.main(["export", str(folder)]) == 2
    assert "differs from PyTorch by" in capsys.readouterr().err
    assert not list(folder.glob("*.onnx"))


def test_a_missing_package_is_named_before_anything_starts(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert fedrounds.main(["export", str(make_model())]) == 2
    said = capsys.readouterr().err
    assert "onnxruntime, which is not installed: pip install 'fedrounds[export]'" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "expected 'export MODEL"),
        (["{model}", "data=phantom"], "expected 'export MODEL"),
        (["{model}", "--output", "model.pt"], "ends in .onnx"),
        (["{model}/nowhere"], "model.json: cannot be read"),
    ],
)
def test_wrong_words_are_told(
    make_model: Make, capsys: Capture, wrong: list[str], said: str
) -> None:
    folder = make_model()
    assert fedrounds.main(["export", *(word.format(model=folder) for word in wrong)]) == 2
    assert said in capsys.readouterr().err


def test_the_images_of_the_check_differ_and_reach_both_ends() -> None:
    images = check_images(100, 1, 33)
    assert images.shape == (100, 1, 33, 33)
    assert images.min() == 0
    assert images.max() == 255
    assert len({image.tobytes() for image in images}) == 100
    assert check_images(100, 1, 33).tobytes() == images.tobytes()
