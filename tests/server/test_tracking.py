"""Trackers get what the run's own files hold, only where asked for, and never end a run."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import fedrounds
from common.compose import load_settings
from common.config import Experiment
from common.journal import Follower, Journal
from server.deploy.events import EVENTS, Events
from server.deploy.serve import _follow
from server.job import Silent
from server.tracking import TrackedProgress, Tracker, open_tracker
from server.tracking.values import parameters, result_values, round_values
from tests.conftest import FAST

LINE = {
    "round": 3,
    "applied": True,
    "answered": ["north", "south"],
    "refused": {"west": "late"},
    "dropped": [],
    "evaluate_only": {},
    "validation": {"pooled": {"auroc_macro": 0.7, "log_loss": None}, "sites": {"a b": {"x": 1}}},
    "bytes": {"down": 10, "up": 4},
    "seconds": 0.5,
}


@pytest.fixture
def simulate(hospitals: Path, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    def run(*words: str) -> tuple[int, Path]:
        output = tmp_path / "runs" / "one"
        base = [*FAST, "privacy=none", "engine.workers=1", f"data.root={hospitals}"]
        return fedrounds.main(["simulate", *base, f"output_dir={output}", *words]), output

    return run


def rounds_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "rounds.jsonl").read_text().splitlines()]


def test_tensorboard_gets_every_round_and_the_result(
    simulate: Callable[..., tuple[int, Path]],
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, output = simulate("tracker=tensorboard")
    assert code == 0
    found = EventAccumulator(str(output / "tensorboard")).Reload()
    lines, result = rounds_of(output), json.loads((output / "result.json").read_text())
    told = [(e.step, e.value) for e in found.Scalars("validation/pooled/log_loss")]
    expected = [(line["round"], line["validation"]["pooled"]["log_loss"]) for line in lines]
    assert [step for step, _ in told] == [1, 2]
    assert told == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    (test,) = found.Scalars("test/auroc_macro")
    assert (test.step, test.value) == (2, pytest.approx(result["metrics"]["auroc_macro"]["value"]))
    assert [e.value for e in found.Scalars("answered")] == [2.0, 2.0]
    (text,) = found.Tensors("experiment/text_summary")
    assert b"name: phantom" in text.tensor_proto.string_val[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore::ResourceWarning")
def test_mlflow_gets_every_round_and_the_result_in_a_file_of_its_own(
    simulate: Callable[..., tuple[int, Path]], experiment: Experiment, tmp_path: Path
) -> None:
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow-skinny is not installed: pip install 'fedrounds[mlflow]'")
    code, output = simulate("tracker=mlflow")
    assert code == 0
    from mlflow import MlflowClient

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    client = MlflowClient(tracking_uri=f"sqlite:///{output.parent / 'mlflow.db'}")
    place = client.get_experiment_by_name("phantom").experiment_id
    (run,) = client.search_runs([place])
    lines, result = rounds_of(output), json.loads((output / "result.json").read_text())
    assert run.data.tags["fedrounds.run_id"] == result["run_id"]
    assert run.info.status == "FINISHED"
    assert run.data.params["model.name"] == "cnn"
    told = client.get_metric_history(run.info.run_id, "validation/pooled/log_loss")
    assert [(one.step, one.value) for one in told] == [
        (line["round"], line["validation"]["pooled"]["log_loss"]) for line in lines
    ]
    assert run.data.metrics["test/auroc_macro"] == result["metrics"]["auroc_macro"]["value"]
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert {path.name for path in output.parent.iterdir()} == {"one", "mlflow.db"}
    # A run that goes on is the same one; one that is cut off is not finished.
    said: list[str] = []
    with open_tracker("mlflow", experiment, "another", output, said.append) as tracker:
        tracker.round_done(LINE)
    with open_tracker("mlflow", experiment, "another", output, said.append) as tracker:
        tracker.round_done({**LINE, "round": 4})
    assert not said
    (place,) = (e.experiment_id for e in client.search_experiments() if e.name == "test")
    (run,) = client.search_runs([place])
    assert run.info.status == "FAILED"
    history = client.get_metric_history(run.info.run_id, "bytes/up")
    assert [one.step for one in history] == [3, 4]


def test_nothing_is_tracked_unless_it_is_asked_for(
    simulate: Callable[..., tuple[int, Path]],
) -> None:
    code, output = simulate()
    assert code == 0
    assert {path.name for path in output.parent.iterdir()} == {"one"}
    assert not (output / "tensorboard").exists()
    assert load_settings([]).tracker == "none"


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_a_missing_package_is_named_before_anything_starts(
    simulate: Callable[..., tuple[int, Path]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    code, output = simulate(f"tracker={name}")
    assert code == 2
    said = capsys.readouterr()
    assert f"tracker={name} needs {name}, which is not installed" in said.err
    assert f"pip install 'fedrounds[{name}]'" in said.err
    assert not said.out
    assert not output.exists()


def test_an_unknown_tracker_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fedrounds.main(["simulate", "tracker=mlfow"]) == 2
    assert "did you mean 'mlflow'?" in capsys.readouterr().err


class Broken:
    """A backend whose disk is full from the second round on."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def log(self, values: Mapping[str, float], server_round: int) -> None:  # noqa: ARG002
        self.steps.append(server_round)
        if len(self.steps) > 1:
            raise OSError("no space left")

    def close(self, complete: bool) -> None:  # noqa: ARG002
        raise AssertionError("it was given up before")


def test_a_backend_that_fails_is_said_once_and_the_run_goes_on() -> None:
    said: list[str] = []
    backend = Broken()
    with Tracker("tensorboard", lambda: backend, said.append) as tracker:
        progress = TrackedProgress(Silent(), tracker)
        for number in (1, 2, 3):
            progress.round_done({**LINE, "round": number})
    assert backend.steps == [1, 2]
    (line,) = said
    assert "tracker=tensorboard failed, the run goes on without it: no space left" in line


def test_a_backend_that_cannot_be_opened_is_said_and_the_run_goes_on() -> None:
    def unreachable() -> Broken:
        raise ConnectionError("nobody is there")

    said: list[str] = []
    with Tracker("mlflow", unreachable, said.append) as tracker:
        tracker.round_done(LINE)
    (line,) = said
    assert "nobody is there" in line


def test_every_number_of_a_line_has_a_name_and_what_is_none_has_not() -> None:
    assert round_values(LINE) == {
        "applied": 1.0,
        "answered": 2.0,
        "left_out": 1.0,
        "validation/pooled/auroc_macro": 0.7,
        "validation/sites/a b/x": 1.0,
        "bytes/down": 10.0,
        "bytes/up": 4.0,
        "seconds": 0.5,
    }


def test_a_results_figures_are_told_by_value_and_a_class_may_have_any_name() -> None:
    figure = {"value": 0.8, "low": 0.7, "high": 0.9, "support": {"positives": 3}}
    result = {
        "metrics": {"auroc": {"value": figure, "β": {**figure, "value": None}}, "confusion": [[1]]},
        "local_metrics": None,
        "sites": [
            {"name": "north", "metrics": None, "privacy": {"epsilon": 3.0, "unit": "patient"}}
        ],
    }
    assert result_values(result) == {"test/auroc/value": 0.8, "sites/north/privacy/epsilon": 3.0}


def test_parameters_are_the_shared_experiment(experiment: Experiment) -> None:
    told = parameters(experiment)
    assert told["privacy.epsilon"] == "8.0"
    assert told["data.classes"] == "['a', 'b']"
    assert not any("tracker" in key or "root" in key for key in told)


def test_a_server_tells_the_rounds_of_this_start_as_it_follows_them(tmp_path: Path) -> None:
    earlier, now = Events(tmp_path, "earlier"), Events(tmp_path, "now")
    earlier.round_done({**LINE, "round": 1})
    for number in (2, 3):
        now.round_done({**LINE, "round": number})
    now.ended(None)
    told: list[tuple[int, dict[str, float]]] = []

    class Backend:
        def log(self, values: Mapping[str, float], server_round: int) -> None:
            told.append((server_round, dict(values)))

        def close(self, complete: bool) -> None: ...

    class Idle:
        def look(self) -> None: ...

    follower, journal = Follower(tmp_path / EVENTS), Journal(tmp_path)
    with Tracker("mlflow", Backend, journal.say) as tracker:
        ended = _follow(follower, "now", Idle(), journal, tracker, 3)  # type: ignore[arg-type]
    assert ended.exit_code == 0
    assert [number for number, _ in told] == [2, 3]
    assert told[0][1] == round_values(LINE)
