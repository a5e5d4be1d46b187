"""The table, the CSV and the plot that a sweep ends with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from rich.console import Console

from common.config import Settings
from common.errors import SettingsError
from common.start import Run
from simulations import sweep
from simulations.designs import run as designs
from simulations.report.tradeoff import tradeoff

GUARANTEE = {"delta": 1e-5, "unit": "patient", "adjacency": "add-or-remove-one",
             "accountant": "prv", "composition": "across plans", "epsilon_rdp": 6.5,
             "assumed_epsilon": 0.0}  # fmt: skip

QUIET = Console(quiet=True)


def result(epsilons: list[float | None], value: float | None, seed: int = 0) -> dict[str, Any]:
    """As much of a ``result.json`` as a sweep reads."""
    score = {"value": value, "low": None, "high": None}
    if value is not None:
        score |= {"low": value - 0.02, "high": value + 0.03}
    return {
        "incomplete": [],
        "rounds": 2,
        "seed": seed,
        "metrics": {"auroc_macro": score},
        "sites": [
            {"privacy": None if e is None else {"epsilon_run": e, "epsilon": e + 4, **GUARANTEE}}
            for e in epsilons
        ],
    }


def row(epsilons: list[float | None], value: float | None, seed: int = 0) -> dict[str, Any]:
    overrides = ["privacy.epsilon=1", f"seed={seed}"]
    return {"overrides": overrides, **sweep.sweep_row(result(epsilons, value, seed))}


def test_a_row_holds_the_guarantee_of_the_largest_epsilon() -> None:
    kept = row([1.0, 2.5, 2.0, None], 0.8)
    assert kept["epsilon_run"] == 2.5
    assert kept["privacy"] == {"epsilon_run": 2.5, "epsilon": 6.5, **GUARANTEE}
    assert row([None, None], 0.8)["privacy"] is None


def test_the_csv_has_a_line_a_run() -> None:
    text = sweep.sweep_csv([row([1.0], 0.75), row([None], 0.9, seed=1), row([3.0], None)])
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["run"] for line in lines] == ["0", "1", "2"]
    assert [line["epsilon_run"] for line in lines] == ["1.0", "", "3.0"]
    assert [line["epsilon"] for line in lines] == ["5.0", "", "7.0"]
    assert [line["accountant"] for line in lines] == ["prv", "", "prv"]
    assert [line["auroc_macro_value"] for line in lines] == ["0.75", "0.9", ""]
    assert lines[0]["auroc_macro_low"] == "0.73"
    assert lines[1]["settings"] == "privacy.epsilon=1 seed=1"


def test_the_plot_names_the_guarantee_and_draws_the_run_without_privacy_as_a_line() -> None:
    svg = tradeoff([row([1.0], 0.7), row([8.0], 0.8), row([None], 0.9)])
    assert svg is not None
    assert svg.startswith("<svg")
    for text in ("patient, δ = 1e-05", "without privacy", "add-or-remove-one, prv"):
        assert text in svg
    alone = tradeoff([row([1.0], 0.7), row([8.0], 0.8)])
    assert alone is not None
    assert "without privacy" not in alone


def test_several_runs_without_privacy_stand_once_in_the_legend() -> None:
    svg = tradeoff([row([1.0], 0.7), row([None], 0.9), row([None], 0.91, seed=1)])
    assert svg is not None
    assert svg.count("without privacy") == 1


def test_seeds_at_one_epsilon_are_points_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[float], list[float]]] = []
    original = Axes.errorbar

    def spy(self: Axes, x: list[float], y: list[float], **more: Any) -> Any:
        drawn.append((x, y))
        return original(self, x, y, **more)

    monkeypatch.setattr(Axes, "errorbar", spy)
    tradeoff([row([2.0], 0.7), row([2.0], 0.72, seed=1), row([8.0], 0.8)])
    assert drawn == [([2.0, 2.0, 8.0], [0.7, 0.72, 0.8])]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row([None], 0.9)],
        [row([1.0], None)],
        [row([0.0], 0.9)],  # every site was past its cap
        [{**row([1.0], 0.9), "auroc_macro": None}],
    ],
)
def test_without_an_epsilon_and_a_score_there_is_no_plot(rows: list[dict[str, Any]]) -> None:
    assert tradeoff(rows) is None


@pytest.fixture
def sweep_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Run a sweep whose runs end at once."""

    def instead(run: Run, console: Console) -> dict[str, Any]:
        settings: Settings = run.settings
        epsilon = settings.privacy.epsilon if settings.privacy.enabled else None
        run.output_dir.mkdir(parents=True)
        return result([epsilon], 0.8, settings.seed)

    def make(*words: str, console: Console = QUIET) -> Path:
        monkeypatch.setattr(sweep, "run_as_designed", instead)
        base = tmp_path / "sweep"
        assert sweep.run_sweep([*words, f"output_dir={base}"], console, False) == 0
        return base

    return make


def test_a_sweep_with_privacy_ends_with_table_and_plot(sweep_of: Callable[..., Path]) -> None:
    base = sweep_of("privacy.epsilon=1,3", "seed=0,1")
    names = {path.name for path in base.iterdir()}
    assert names == {"0", "1", "2", "3", "sweep.json", "sweep.csv", "sweep.svg"}
    runs = json.loads((base / "sweep.json").read_text(encoding="utf-8"))["runs"]
    assert [run["epsilon_run"] for run in runs] == [1.0, 1.0, 3.0, 3.0]
    assert len((base / "sweep.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_a_sweep_says_what_a_run_cost_and_what_the_site_has_spent_in_all(
    sweep_of: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_of("privacy.epsilon=1,3", console=Console(width=200))
    shown = capsys.readouterr().out
    for text in ("ε (life)", " 1.000 ", " 5.000 ", " 7.000 ", "across plans (6.500 by RDP)"):
        assert text in shown


def test_a_sweep_runs_the_design_that_its_settings_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = []

    def noted(name: str) -> Callable[[Run, Console], dict[str, Any]]:
        return lambda run, _: done.append((name, run.settings.seed)) or result([None], 0.8)  # type: ignore[func-returns-value]

    monkeypatch.setattr(designs, "run_design", noted("design"))
    monkeypatch.setattr(designs, "simulate", noted("alone"))
    words = ["privacy=none", f"output_dir={tmp_path / 'sweep'}"]
    sweep.run_sweep([*words, "experiment=cross_site", "seed=0,1"], Console(quiet=True), False)
    words[1] += "-plain"
    sweep.run_sweep([*words, "seed=2,3"], Console(quiet=True), False)
    assert done == [("design", 0), ("design", 1), ("alone", 2), ("alone", 3)]


def test_a_sweep_without_privacy_has_no_plot(sweep_of: Callable[..., Path]) -> None:
    base = sweep_of("privacy=none", "seed=0,1")
    assert not (base / "sweep.svg").exists()
    assert (base / "sweep.csv").exists()


def test_a_sweep_overwrites_nothing(sweep_of: Callable[..., Path]) -> None:
    sweep_of("seed=0")
    with pytest.raises(SettingsError, match="not an empty folder"):
        sweep_of("seed=0")
