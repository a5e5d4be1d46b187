"""What a run starts from: torchvision's weights with BatchNorm folded, or a model of our own."""

from __future__ import annotations

import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms.functional import normalize

import fedrounds
from common.checks import parse_experiment
from common.config import Experiment, Settings
from common.data.transforms import normalise
from common.errors import CheckpointError, SettingsError
from common.model_file import write_model_file
from common.model_settings import MetadataEncoding, ModelSettings
from common.models import MODELS, build_model
from common.models.batch_norm import IMAGENET_MEAN, IMAGENET_STD
from common.parameters import arrays_of, load_arrays
from server.job import Job
from server.pretrained import initial_arrays
from server.rounds import run_rounds
from server.state import RunState
from server.strategies import SHARED, build_strategy
from server.torchvision_file import ORIGINALS
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts
from tests.conftest import FAST
from tests.server.test_rounds import InterruptingGrid

BASE = """
name: x
seed: 3
rounds: 1
local_steps: 1
threads: 1
data: {classes: [a, b], multi_label: false, image_size: 64, channels: 3}
model: {}
strategy: {}
privacy: {unit: none}
"""


def experiment(channels: int = 3, **model: Any) -> Experiment:
    base = parse_experiment(BASE)
    data = replace(base.data, channels=channels)
    return replace(base, data=data, model=ModelSettings(**model))


def original(name: str, channels: int = 3, **changes: Any) -> Experiment:
    """What torchvision's weights need."""
    settings = {"stem": "imagenet", "norm": "folded", "width": ORIGINALS[name].width}
    return experiment(channels, **{"name": name, **settings, **changes})


def trained_network(name: str) -> nn.Module:
    """torchvision's, with statistics as training would leave them: none is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = getattr(models, ORIGINALS[name].function)(weights=None)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.running_mean, -0.5, 0.5), (layer.running_var, 0.5, 2.0),
                (layer.weight, 0.5, 1.5), (layer.bias, -0.5, 0.5),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


def saved(network: nn.Module, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return str(path)


def levels(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, channels, 64, 64), generator=generator, dtype=torch.uint8)


def feature_map(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """What torchvision's network has before its pooling."""
    if name != "resnet18":
        maps: Tensor = network.features(images)  # type: ignore[operator]
        return maps.relu() if name == "densenet121" else maps
    for child in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        images = getattr(network, child)(images)
    return images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet18", "w.pth"), ("densenet121", "w.safetensors"), ("mobilenet", "w.pt")],
)
def test_a_folded_network_is_torchvisions_own_in_evaluation(
    name: str, file: str, channels: int, tmp_path: Path
) -> None:
    network, asked = trained_network(name), original(name, channels)
    model = build_model(asked).eval()
    load_arrays(model, initial_arrays(asked, saved(network, tmp_path / file)))
    images = levels(channels)
    theirs = normalize(images.expand(-1, 3, -1, -1) / 255, IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        expected = feature_map(network, name, theirs)
        found = model.features(normalise(images))
    assert expected.std() > 0.01
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_file_with_densenets_older_names_is_read(tmp_path: Path) -> None:
    network, asked = trained_network("densenet121"), original("densenet121")
    older = OrderedDict(
        (key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1")
         .replace("conv2", "conv.2") if "denselayer" in key else key, value)
        for key, value in network.state_dict().items() if "num_batches" not in key
    )  # fmt: skip
    assert any(".norm.1.weight" in key for key in older)
    torch.save(older, tmp_path / "older.pth")
    one = initial_arrays(asked, str(tmp_path / "older.pth"))
    other = initial_arrays(asked, saved(network, tmp_path / "now.pth"))
    assert all(np.array_equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (experiment(name="cnn"), ["torchvision has no cnn; expected one of resnet18"]),
        (original("resnet18", norm="group"), ["needs model.norm=folded, and model.norm=group"]),
        (original("resnet18", width=8, stem="small"), ["model.width=64", "model.stem=imagenet"]),
    ],
)
def test_weights_for_another_architecture_are_refused(
    asked: Experiment, lines: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        initial_arrays(asked, str(tmp_path / "none.pth"))
    assert all(line in str(refused.value) for line in lines)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


def broken(kind: str) -> Any:
    state = trained_network("resnet18").state_dict()
    if kind == "code":
        return {"conv1.weight": Harmful()}
    if kind == "a list":
        return list(state.values())
    if kind == "an array less":
        del state["layer2.0.conv1.weight"]
    if kind == "another shape":
        state["conv1.weight"] = state["conv1.weight"][:, :1]
    if kind == "not finite":
        state["bn1.running_mean"][0] = torch.inf
    if kind == "a negative variance":
        state["bn1.running_var"][0] = -1.0
    return state


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("code", "expected tensors and nothing else"),
        ("a list", "expected a state_dict, which is tensors by name, got list"),
        ("an array less", "'layer2.0.conv1.weight' is missing"),
        ("another shape", r"'conv1.weight' has shape \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)"),
        ("not finite", "'bn1.running_mean' holds NaN or infinity"),
        ("a negative variance", "holds NaN or infinity"),
    ],
)
def test_a_file_that_is_no_such_weights_is_refused(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(broken(kind), path)
    with pytest.raises(CheckpointError, match=message):
        initial_arrays(original("resnet18"), str(path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"nothing", pickle.dumps({"a": 1}, protocol=2)[:9]])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "gone/w.pth"])
def test_bytes_that_are_no_weights_are_refused(data: bytes, name: str, tmp_path: Path) -> None:
    if "gone" not in name:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        initial_arrays(original("resnet18"), str(tmp_path / name))


def own_file(folder: Path, asked: Experiment) -> str:
    write_model_file(folder, "model", asked, "a-run", arrays_of(build_model(asked, seed=9)))
    return str(folder)


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_of_our_own_is_taken_whole_where_its_head_means_the_same(
    name: str, tmp_path: Path
) -> None:
    asked = experiment(name=name, width=4)
    expected = arrays_of(build_model(asked, seed=9))
    found = initial_arrays(asked, own_file(tmp_path, asked))
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


def test_a_centre_may_be_measured_over_a_backbone_that_was_trained_without(tmp_path: Path) -> None:
    trained = experiment(name="cnn", width=4)
    asked = replace(trained, model=replace(trained.model, trainable="head", centred=True))
    file, found = (
        arrays_of(build_model(trained, seed=9)), initial_arrays(asked, own_file(tmp_path, trained))
    )  # fmt: skip
    assert not found.pop("centre.value").any()
    for key, value in found.items():
        assert np.array_equal(value, file[key]) == key.startswith("backbone.")


@pytest.mark.parametrize("change", ["classes", "multi_label", "head", "metadata"])
def test_a_head_that_means_something_else_is_not_taken(change: str, tmp_path: Path) -> None:
    asked = experiment(name="cnn", width=4)
    path = own_file(tmp_path, asked)
    if change == "classes":
        asked = replace(asked, data=replace(asked.data, classes=("b", "a")))
    elif change == "multi_label":
        asked = replace(asked, data=replace(asked.data, multi_label=True))
    elif change == "head":
        asked = replace(asked, model=replace(asked.model, head="evidence"))
    else:
        fused = {"age": MetadataEncoding(mean=60, scale=15)}
        asked = replace(asked, model=replace(asked.model, metadata=fused))
    found, drawn = initial_arrays(asked, path), arrays_of(build_model(asked, seed=3))
    file = arrays_of(build_model(experiment(name="cnn", width=4), seed=9))
    for key, value in found.items():
        assert np.array_equal(value, (file if key.startswith("backbone.") else drawn)[key])


def test_another_architecture_of_our_own_is_refused_naming_both(tmp_path: Path) -> None:
    path = own_file(tmp_path, experiment(name="cnn", width=4))
    with pytest.raises(SettingsError) as refused:
        initial_arrays(experiment(name="wsnet", width=8), path)
    assert "model.name=cnn, and model.name=wsnet was asked for" in str(refused.value)
    assert "model.width=4, and model.width=8 was asked for" in str(refused.value)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
@pytest.mark.parametrize("name", [name for name in MODELS.names() if name != "scatter"])
def test_grey_and_colour_are_changed_exactly(
    name: str, before: int, after: int, tmp_path: Path
) -> None:
    first, asked = (experiment(channels, name=name, width=4) for channels in (before, after))
    path = own_file(tmp_path, first)
    file, model = build_model(first, seed=9).eval(), build_model(asked).eval()
    load_arrays(model, initial_arrays(asked, path))
    grey = normalise(levels(1))
    with torch.no_grad():
        expected = file(grey.expand(-1, before, -1, -1))
        found = model(grey.expand(-1, after, -1, -1))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_scattering_of_grey_is_none_of_colour(tmp_path: Path) -> None:
    grey, colour = (experiment(channels, name="scatter", width=4) for channels in (1, 3))
    with pytest.raises(SettingsError, match=r"data\.channels=1, and 3 was asked for: scattering"):
        initial_arrays(colour, own_file(tmp_path, grey))


def test_a_run_starts_from_the_file_and_goes_on_without_it(
    site_folders: Callable[..., tuple[Cohorts, list[Path]]],
    tmp_path: Path,
) -> None:
    prepared, folders = site_folders("model.width=4", "local_steps=1")
    become_server()
    path = own_file(tmp_path / "file", prepared.experiment)
    jobs = [
        Job(prepared.experiment, "run", len(folders), tmp_path / name, pretrained=path)
        for name in ("whole", "cut")
    ]
    for job in jobs:
        job.output_dir.mkdir()
    fresh = RunState.fresh(jobs[0], build_strategy(prepared.experiment), []).learnt.models[SHARED]
    expected = arrays_of(build_model(prepared.experiment, seed=9))
    assert all(np.array_equal(fresh[name], value) for name, value in expected.items())
    whole = run_rounds(InProcessGrid(folders, None), jobs[0])
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, 3), jobs[1])
    shutil.rmtree(path)
    resumed = run_rounds(InProcessGrid(folders, None), replace(jobs[1], resume=True))
    for name, value in whole.models[SHARED].items():
        assert np.array_equal(resumed.models[SHARED][name], value)


def test_no_site_is_told_of_the_file(settings: Callable[..., Settings]) -> None:
    own = settings("model.pretrained=/coordinator/own.pth")
    assert own.model.pretrained == "/coordinator/own.pth"
    text = own.shared(own.data).to_yaml()
    assert "coordinator" not in text
    assert "pretrained" not in text


def test_a_file_that_does_not_fit_ends_a_run_before_anything_is_written(
    settings: Callable[..., Settings], hospitals: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = own_file(tmp_path / "file", experiment(name="cnn", width=4))
    words = [f"data.root={hospitals}", "privacy=none", *FAST, f"model.pretrained={path}"]
    assert fedrounds.main(["simulate", *words, f"output_dir={tmp_path / 'run'}"]) == 2
    assert "model.width=4, and model.width=8 was asked for" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
