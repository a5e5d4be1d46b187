"""``fedrounds predict``: every kind of file, every kind of answer, and what cannot be read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fedrounds
from client.inference.trained import TrainedModel
from common.config import Experiment
from common.data.images import read_image
from common.data.transforms import normalise
from common.metrics import OperatingPoint
from common.metrics.thresholds import Wanted
from common.model_file import write_model_file
from common.model_settings import MetadataEncoding, ModelSettings
from common.parameters import arrays_of

Make = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def images(hospitals: Path, tmp_path: Path) -> list[Path]:
    """A DICOM file, and the same as PNG and JPEG."""
    folder = tmp_path / "images"
    folder.mkdir()
    source = sorted((hospitals / "northfield" / "images").glob("*.dcm"))[0]
    pixels = read_image(source, 64, 1)[0]
    for name in ("b.png", "c.jpg"):
        Image.fromarray(pixels).save(folder / name)
    (folder / "a.dcm").write_bytes(source.read_bytes())
    return [folder / name for name in ("a.dcm", "b.png", "c.jpg")]


def words(*parts: object) -> list[str]:
    return ["predict", *map(str, parts)]


def test_json_holds_the_models_own_probabilities(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    folder = make_model()
    assert fedrounds.main(words(folder, *images, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == {"run_id": "a-run", "name": "cnn", "classes": ["nodule", "infiltrate"]}
    assert [one["file"] for one in said["images"]] == [str(path) for path in images]
    model = TrainedModel.open(folder).model
    for one, path in zip(said["images"], images, strict=True):
        seen = torch.from_numpy(read_image(path, 32, 1).copy())[None]
        with torch.inference_mode():
            expected = torch.sigmoid(model(normalise(seen)))[0]
        assert list(one["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
        likely = [c for c, p in one["probabilities"].items() if p >= 0.5]
        assert one["predicted"] == likely
    assert len({str(one["probabilities"]) for one in said["images"]}) > 1


def test_a_model_with_an_operating_point_answers_by_it_too(
    make_model: Make, images: list[Path], phantom: Experiment, capsys: Capture
) -> None:
    """One threshold is below every score and the others above; so is the set's."""
    folder = make_model()
    point = OperatingPoint(Wanted(0.9, 0.9, 0.9), 2.0, (0, 4096), (4096, 0), 0)
    arrays = arrays_of(TrainedModel.open(folder).model)
    write_model_file(folder, "model", phantom, "a-run", arrays, point)
    (images[2]).write_bytes(b"no image")
    assert fedrounds.main(words(folder, *images, "--json")) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["operating_point"]["temperature"] == 2.0
    first, _, unread = said["images"]
    assert set(unread) == {"file", "refused"}
    assert first["at_specificity"] == ["nodule"]
    assert first["at_sensitivity"] == ["infiltrate"]
    assert first["conformal_set"] == ["nodule", "infiltrate", "not nodule", "not infiltrate"]
    for name, p in first["probabilities"].items():
        odds = np.log(p / (1 - p)) / 2
        assert first["calibrated"][name] == pytest.approx(1 / (1 + np.exp(-odds)))

    assert fedrounds.main(words(folder, *images, "--csv")) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["at_specificity"] for row in rows] == ["nodule", "nodule", ""]
    assert float(rows[0]["calibrated nodule"]) == pytest.approx(first["calibrated"]["nodule"], 1e-5)
    assert rows[2]["refused"]
    assert None not in rows[2]
    assert fedrounds.main(words(folder, *images)) == 1
    assert "conformal set" in capsys.readouterr().out


def test_a_model_that_takes_metadata_says_what_images_alone_lack(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    encodings = {"age": MetadataEncoding(mean=60.0, scale=15.0)}
    folder = make_model(ModelSettings(width=4, metadata=encodings))
    assert fedrounds.main(words(folder, images[0], "--json")) == 0
    said = capsys.readouterr()
    assert "also takes age" in said.err
    assert "probabilities" in json.loads(said.out)["images"][0]


def test_single_labels_add_up_to_one_and_the_greatest_is_predicted(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    folder = make_model(multi_label=False, negative_label=None, classes=("x", "y"))
    assert fedrounds.main(words(folder, images[0], "--json")) == 0
    (one,) = json.loads(capsys.readouterr().out)["images"]
    chances = one["probabilities"]
    assert sum(chances.values()) == pytest.approx(1, abs=1e-9)
    assert one["predicted"] == [max(chances, key=lambda name: chances[name])]


def test_a_folder_gives_all_its_images_as_csv_and_what_is_no_image_is_passed_over(
    make_model: Make, images: list[Path], tmp_path: Path
) -> None:
    (images[0].parent / "notes.txt").write_text("nothing")
    output = tmp_path / "out.csv"
    assert fedrounds.main(words(make_model(), images[0].parent, "--output", output)) == 0
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [Path(row["file"]).name for row in rows] == ["a.dcm", "b.png", "c.jpg"]
    assert all(0 < float(row["nodule"]) < 1 and not row["refused"] for row in rows)


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_scored(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    images[1].write_bytes(images[1].read_bytes()[:60])
    assert fedrounds.main(words(make_model(), *images, "--csv")) == 1
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [bool(row["refused"]) for row in rows] == [False, True, False]
    assert rows[1]["nodule"] == rows[1]["predicted"] == ""
    assert "not read:" in err
    assert "b.png" in err


def test_many_images_are_scored_in_their_order(make_model: Make, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(150):  # more than one batch, and more than one worker
        pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    output = tmp_path / "all.json"
    assert fedrounds.main(words(make_model(), folder, "--output", output)) == 0
    said = json.loads(output.read_text())["images"]
    assert [Path(one["file"]).stem for one in said] == [f"{n:03}" for n in range(150)]
    trained = TrainedModel.open(tmp_path / "model")
    last = trained.probabilities(read_image(folder / "149.png", 32, 1)[None])[0]
    assert list(said[-1]["probabilities"].values()) == pytest.approx(last.tolist(), abs=1e-6)


def test_how_files_are_shown_can_be_said_and_nothing_else(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    folder = make_model()
    outs = []
    for setting in ([], ["data.intensity=display"]):
        assert fedrounds.main(words(folder, images[0], "--json", *setting)) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] != outs[1]
    assert fedrounds.main(words(folder, images[0], "data.image_size=64")) == 2
    assert "data.image_size=64: the model's own file says the rest" in capsys.readouterr().err


def test_the_table_shows_what_is_predicted(
    make_model: Make, images: list[Path], capsys: Capture
) -> None:
    assert fedrounds.main(words(make_model(), images[0].parent)) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("a.dcm", "predicted", "nodule 0.", "infiltrate 0."))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "expected 'predict MODEL IMAGE…"),
        (["{model}"], "expected 'predict MODEL IMAGE…"),
        (["{model}", "nowhere.png", "none.dcm"], "nowhere.png: expected an image or a folder"),
        (["{model}", "{image}", "--jsn"], "did you mean '--json'?"),
        (["{model}", "{image}", "--json", "--csv"], "expected 'predict MODEL IMAGE…"),
        (["{model}", "{image}", "--output"], "--output needs a value"),
        (["{model}", "{image}", "--output", "x.xls"], "ends in .json or .csv"),
        (["{image}", "{image}"], "model.json: cannot be read"),
        (["{model}", "{empty}"], "expected images, and there is no DICOM"),
    ],
)
def test_wrong_words_are_told(
    make_model: Make,
    images: list[Path],
    tmp_path: Path,
    capsys: Capture,
    wrong: list[str],
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"model": make_model(), "image": images[0], "empty": tmp_path / "empty"}
    assert fedrounds.main(words(*(word.format(**names) for word in wrong))) == 2
    assert said in capsys.readouterr().err


def test_every_frame_of_a_file_is_scored_where_all_are_asked_for(
    make_model: Make, tmp_path: Path, capsys: Capture
) -> None:
    pages = [Image.new("L", (16, 16), level) for level in (10, 120, 240)]
    pages[0].save(tmp_path / "loop.tif", save_all=True, append_images=pages[1:])
    pages[1].save(tmp_path / "one.png")
    files = tmp_path / "loop.tif", tmp_path / "one.png"
    assert fedrounds.main(words(make_model(), *files, "--json", "data.frames=all")) == 0
    said = json.loads(capsys.readouterr().out)["images"]
    assert [Path(one["file"]).name for one in said] == [
        "loop.tif#frame-0", "loop.tif#frame-1", "loop.tif#frame-2", "one.png",
    ]  # fmt: skip
    scores = [one["probabilities"]["nodule"] for one in said]
    assert len(set(scores[:3])) == 3
    assert scores[1] == pytest.approx(scores[3], abs=1e-6)
