"""A run ends with the round that its rule names, also where it was cut off and went on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.checkpoint import read_tensors
from common.compose import load_settings
from common.errors import SettingsError
from server import keeping, rounds
from server.deploy.jobfile import read_job, write_job
from server.job import Job, Outcome, Silent
from server.keeping import Kept, averaged, better
from server.results import build_result, write_model
from server.rounds import run_rounds
from server.strategies import Models
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts
from tests.server.test_rounds import InterruptingGrid

Folders = Callable[..., tuple[Cohorts, list[Path]]]
AUROCS = {1: 0.6, 2: 0.9, 3: 0.9, 4: 0.7}
"""What the validation part is made to say of each round."""


def line_of(number: int, auroc: float | None) -> dict[str, Any]:
    return {"round": number, "validation": {"pooled": {"auroc_macro": auroc}}}


def models_of(value: float) -> Models:
    return {"shared": {"w": np.full(1, value, np.float32)}}


def test_the_best_is_kept_and_the_first_of_equal_ones() -> None:
    first = better(None, line_of(1, 0.6), models_of(1))
    assert first == Kept(1, 0.6, models_of(1))
    second = better(first, line_of(2, 0.8), models_of(2))
    assert second is not None
    assert (second.server_round, second.models) == (2, models_of(2))
    assert better(second, line_of(3, 0.8), models_of(3)) is second
    assert better(second, line_of(3, 0.7), models_of(3)) is second


@pytest.mark.parametrize("validation", [None, {"pooled": None}, {"pooled": {"auroc_macro": None}}])
def test_a_round_without_a_figure_is_not_chosen(validation: dict[str, Any] | None) -> None:
    line = {"round": 1, "validation": validation}
    assert better(None, line, models_of(1)) is None
    kept = Kept(1, 0.0, models_of(0))
    assert better(kept, line, models_of(1)) is kept


def test_the_average_forgets_early_rounds_soon_and_late_ones_slowly() -> None:
    kept = averaged(None, 1, models_of(1), 0.9)
    assert kept == Kept(1, None, models_of(1))
    kept = averaged(kept, 2, models_of(2), 0.9)
    beta = 3 / 12
    expected = beta * 1 + (1 - beta) * 2
    assert kept.models["shared"]["w"] == pytest.approx(expected)
    late = averaged(kept, 1000, models_of(3), 0.9)
    assert late.models["shared"]["w"] == pytest.approx(0.9 * expected + 0.1 * 3)
    assert late.models["shared"]["w"].dtype == np.float32


@pytest.fixture
def job(
    site_folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Job, list[Path]]:
    """Four rounds; the second is the best, and its score is a figure that no chance moves."""
    become_server()
    honest = rounds.validation_line

    def said(*given: Any) -> dict[str, Any]:
        found = honest(*given)
        return {
            **found,
            "pooled": {**found["pooled"], "auroc_macro": AUROCS[given[3].server_round]},
        }

    monkeypatch.setattr(rounds, "validation_line", said)
    prepared, folders = site_folders("rounds=4")
    output = tmp_path / "best"
    output.mkdir()
    return Job(prepared.experiment, "run", len(folders), output, keep="best_validation"), folders


def bits(models: Models) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in models["shared"].items()}


def test_a_run_ends_with_its_best_round_and_tests_that_one(
    job: tuple[Job, list[Path]], tmp_path: Path
) -> None:
    best, folders = job
    outcome = run_rounds(InProcessGrid(folders, None), best)
    short, last = tmp_path / "short", tmp_path / "last"
    for folder in (short, last):
        folder.mkdir()
    # The same two rounds of a run of four, cut off: what the second round left.
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, 5), replace(best, output_dir=short, keep="last"))
    tensors, facts = read_tensors(short / "checkpoint", "checkpoint")
    assert facts["round"] == 2
    second = {key.split("/", 2)[2]: value.tobytes() for key, value in tensors.items()}
    assert bits(outcome.models) == second
    assert (outcome.kept_round, outcome.rounds_applied) == (2, 4)
    result = build_result(best, outcome, {}, 1.0)
    assert result["kept"] == {"rule": "best_validation", "round": 2}
    assert result["rounds"] == 4
    write_model(best, outcome)
    written = {k: v.tobytes() for k, v in read_tensors(best.output_dir, "model")[0].items()}
    assert written == second

    other = run_rounds(InProcessGrid(folders, None), replace(best, output_dir=last, keep="last"))
    assert other.kept_round == 4
    assert bits(other.models) != second
    assert build_result(best, other, {}, 1.0)["metrics"] != result["metrics"]


def cut_off_and_resumed(job: Job, folders: list[Path], after: int, output: Path) -> Outcome:
    cut = replace(job, output_dir=output)
    output.mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, after), cut)
    return run_rounds(InProcessGrid(folders, None), replace(cut, resume=True))


@pytest.mark.parametrize("after", [5, 7])
def test_a_run_that_goes_on_keeps_what_was_best_before(
    job: tuple[Job, list[Path]], after: int, tmp_path: Path
) -> None:
    best, folders = job
    whole = run_rounds(InProcessGrid(folders, None), best)
    resumed = cut_off_and_resumed(best, folders, after, tmp_path / "cut")
    assert resumed.kept_round == whole.kept_round == 2
    assert bits(resumed.models) == bits(whole.models)


@pytest.mark.parametrize("after", [5, 7])
def test_a_run_ends_with_the_average_also_where_it_was_cut_off(
    job: tuple[Job, list[Path]], after: int, tmp_path: Path
) -> None:
    whole_job, folders = replace(job[0], keep="average", average_decay=0.5), job[1]
    seen: list[Models] = []
    honest = keeping.averaged

    def listened(kept: Kept | None, number: int, models: Models, decay: float) -> Kept:
        seen.append(models)
        return honest(kept, number, models, decay)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "averaged", listened)
        whole = run_rounds(InProcessGrid(folders, None), whole_job)
    resumed = cut_off_and_resumed(whole_job, folders, after, tmp_path / "cut")
    assert bits(resumed.models) == bits(whole.models)
    assert whole.kept_round == 4
    name = next(iter(seen[0]["shared"]))
    expected = seen[0]["shared"][name].astype(np.float64)
    for number, models in enumerate(seen[1:], start=2):
        beta = min(0.5, (1 + number) / (10 + number))
        expected = beta * expected + (1 - beta) * models["shared"][name]
    assert whole.models["shared"][name] == pytest.approx(expected, abs=1e-6)


def test_under_privacy_no_round_is_chosen_by_figures_that_nothing_covers() -> None:
    with pytest.raises(SettingsError, match="under privacy use keep=last"):
        load_settings(["keep=best_validation"])
    assert load_settings(["keep=average"]).keep == "average"
    with pytest.raises(SettingsError, match=r"average_decay=1\.0: expected at least 0"):
        load_settings(["keep=average", "average_decay=1"])
    assert load_settings(["keep=best_validation", "privacy=none"]).keep == "best_validation"
    with pytest.raises(SettingsError, match=r"needs data\.validation_fraction above 0"):
        load_settings(["keep=best_validation", "privacy=none", "data.validation_fraction=0"])
    with pytest.raises(SettingsError, match="expected one of last, best_validation, average"):
        load_settings(["keep=best_test", "privacy=none"])


def test_a_job_file_has_the_rule(job: tuple[Job, list[Path]], tmp_path: Path) -> None:
    write_job(tmp_path / "job.json", job[0])
    assert json.loads((tmp_path / "job.json").read_text())["keep"] == "best_validation"
    assert read_job(tmp_path / "job.json", Silent()).keep == "best_validation"
