"""``fedrounds budget``: plans from public sizes, with no data in reach."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.plan import planned_charge
from common.compose import load_settings
from common.config import TaskSettings
from common.errors import FedroundsError, PrivacyError, SettingsError
from common.privacy.accounting import Segment, epsilon, plan_noise_multiplier
from common.schema import narrow
from simulations import budget
from simulations.benchmarks import accounting as accounting_benchmark
from simulations.forecast import computed_rounds, forecast, marked_rounds, public_sizes

SMALL = ["rounds=4", "local_steps=5", "strategy.batch_size=20"]
SITES = "privacy.public_patients={a:500,b:300}"


@pytest.fixture
def plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Run the command with ``--json``; returns what it printed and its folder."""

    def run(*words: str) -> tuple[dict[str, Any], Path]:
        folder = tmp_path / "plan"
        assert budget.main([*SMALL, f"output_dir={folder}", "--json", *words]) == 0
        facts: dict[str, Any] = json.loads(capsys.readouterr().out)
        return facts, folder

    return run


def test_each_site_is_planned_as_it_would_plan_itself(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, _ = plan(SITES, "privacy.epsilon=3")
    assert [site["name"] for site in facts["sites"]] == ["a", "b"]
    assert facts["delta"] == 1e-5
    assert (facts["unit"], facts["adjacency"]) == ("patient", "add-or-remove-one")
    settings = load_settings([*SMALL, "privacy.epsilon=3"])
    experiment = settings.shared(narrow(TaskSettings, settings.data))
    for site, count in zip(facts["sites"], (500, 300), strict=True):
        charge = planned_charge(experiment, count, "patient")
        assert site["sample_rate"] == charge.sample_rate == 20 / count
        assert site["noise_multiplier"] == charge.noise_multiplier
        assert site["noise_multiplier"] == plan_noise_multiplier(3.0, 1e-5, 20 / count, 20)
        assert site["steps"] == charge.steps == 20
        assert site["epsilon"] <= 3
        assert [r["round"] for r in site["rounds"]] == [1, 2, 3, 4]
        for r in site["rounds"]:
            taken = Segment(charge.sample_rate, charge.noise_multiplier, 5 * r["round"])
            spent = epsilon([taken], 1e-5)
            assert (r["epsilon"], r["accountant"]) == (spent.epsilon, spent.accountant)


def test_the_csv_holds_every_round_with_what_its_epsilon_is_about(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, folder = plan(SITES)
    assert {p.name for p in folder.iterdir()} == {"budget.csv", "budget.svg"}
    text = (folder / "budget.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [(r["site"], r["round"]) for r in rows] == [
        (s, str(n)) for s in "ab" for n in range(1, 5)
    ]
    for row in rows:
        assert (row["delta"], row["accountant"]) == ("1e-05", "prv")
        assert (row["unit"], row["adjacency"]) == ("patient", "add-or-remove-one")
    assert float(rows[3]["epsilon"]) == pytest.approx(facts["sites"][0]["epsilon"], abs=1e-6)


def test_the_plot_has_a_line_a_site_and_the_cap(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    _, folder = plan(SITES, "privacy.epsilon_max=5")
    svg = (folder / "budget.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert 'aria-label="ε against rounds"' in svg
    assert "cap: ε = 5" in svg
    assert "δ = 1e-05, for each patient" in svg


def test_a_site_runs_out_in_the_first_round_that_passes_its_cap(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, _ = plan(SITES, "privacy.epsilon=3", "privacy.epsilon_max=2")
    for site in facts["sites"]:
        values = [r["epsilon"] for r in site["rounds"]]
        assert values == sorted(values)
        assert site["runs_out_at_round"] == 1 + sum(value <= 2 for value in values)


def test_a_site_whose_cap_is_above_its_plan_never_runs_out(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, _ = plan(SITES, "privacy.epsilon=3", "privacy.epsilon_max=3")
    assert [site["runs_out_at_round"] for site in facts["sites"]] == [None, None]


def test_sigma_may_be_given_instead_of_a_target(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, _ = plan("privacy.public_patients=500", "privacy.epsilon=null",
                    "privacy.noise_multiplier=1.1")  # fmt: skip
    (site,) = facts["sites"]
    assert site["name"] == "each site"
    assert site["noise_multiplier"] == 1.1
    assert site["epsilon"] == epsilon([Segment(0.04, 1.1, 20)], 1e-5).epsilon


def test_what_is_left_to_rdp_says_so(plan: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    facts, folder = plan("privacy.public_patients=500", "privacy.epsilon=null",
                         "privacy.noise_multiplier=0.3", "local_steps=500")  # fmt: skip
    names = [r["accountant"] for r in facts["sites"][0]["rounds"]]
    assert names == ["prv", "rdp", "rdp", "rdp"] or names == ["rdp"] * 4
    assert "rdp" in (folder / "budget.svg").read_text(encoding="utf-8")


def test_real_experiments_need_no_folder_of_images(
    plan: Callable[..., tuple[dict[str, Any], Path]],
) -> None:
    facts, _ = plan("experiment=ham10000", "strategy.batch_size=20")
    assert facts["unit"] == "lesion"
    assert [site["name"] for site in facts["sites"]] == ["rosendahl", "vidir_modern",
                                                         "vidir_molemax"]  # fmt: skip


def test_the_table_prints_every_epsilon_with_what_it_is_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, SITES, "privacy.epsilon_max=6", f"output_dir={tmp_path / 'plan'}"]
    assert budget.main(words) == 0
    out = capsys.readouterr().out
    for expected in ("public patients", "ε after 1", "ε after all 4", "passes ε = 6", "in round 2",
                     "δ = 1e-05", "for each patient", "add-or-remove-one", "prv"):  # fmt: skip
        assert expected in out


def test_many_rounds_are_computed_at_some_and_the_cap_exactly() -> None:
    settings = load_settings(
        ["rounds=300", "local_steps=1", "privacy.public_patients=500", "strategy.batch_size=10",
         "privacy.epsilon_max=5"]
    )  # fmt: skip
    (site,) = forecast(settings)
    rounds = [p.server_round for p in site.points]
    assert rounds == computed_rounds(300)
    assert len(rounds) < 25
    assert {1, 75, 150, 300} <= set(rounds)

    def after(n: int) -> float:
        return epsilon([Segment(0.02, site.noise_multiplier, n)], 1e-5).epsilon

    assert site.runs_out is not None
    assert after(site.runs_out - 1) <= 5 < after(site.runs_out)


@pytest.mark.parametrize("rounds", [1, 2, 3, 60, 61, 1000])
def test_marked_rounds_are_among_the_computed_ones(rounds: int) -> None:
    computed = computed_rounds(rounds)
    assert set(marked_rounds(rounds)) <= set(computed)
    assert computed == sorted(set(computed))
    assert (computed[0], computed[-1]) == (1, rounds)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["privacy=none"], SettingsError, "has no budget"),
        (["privacy.public_patients=null"], SettingsError, "privacy.public_patients={a:500,b:300}"),
        (["privacy.public_patients={a:0,b:5}"], SettingsError, "a: expected at least 1, got 0"),
        (["privacy.public_patients={}"], SettingsError, "at least one site"),
        (["privacy.public_patients={a/b:50}"], SettingsError, "'a/b': expected at most 64 letters"),
        (["privacy.public_patients={a:20000,b:10}"], PrivacyError, "a: privacy.delta=1e-05"),
        (["privacy.public_patients={a:500,b:10}"], PrivacyError, "b: strategy.batch_size=20"),
        (["privacy.epsilon=1,3"], SettingsError, "add -m"),
        (["privacy.epsilonn=1"], SettingsError, "did you mean 'epsilon'"),
    ],
)
def test_what_cannot_be_planned_is_refused_and_nothing_is_written(
    words: list[str], error: type[FedroundsError], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "plan"
    with pytest.raises(error) as caught:
        budget.main([*SMALL, f"output_dir={folder}", *words])
    assert message in str(caught.value)
    assert not folder.exists()


def test_every_impossible_site_is_named() -> None:
    settings = load_settings([*SMALL, "privacy.public_patients={a:20000,b:10,c:500}"])
    with pytest.raises(PrivacyError) as caught:
        forecast(settings)
    assert [line[0] for line in str(caught.value).splitlines()] == ["a", "b"]


def test_nothing_is_overwritten(plan: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    _, folder = plan("privacy.public_patients=500")
    before = (folder / "budget.csv").read_bytes()
    with pytest.raises(SettingsError, match="not an empty folder"):
        budget.main([*SMALL, f"output_dir={folder}"])
    assert (folder / "budget.csv").read_bytes() == before


def test_the_help_names_every_file_and_word() -> None:
    for word in ("--json", "budget.csv", "budget.svg", "privacy.public_patients", "exit codes"):
        assert word in budget.help_text()


def test_the_benchmark_of_the_accountant_prints_json_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting_benchmark, "HISTORIES", {"one": [Segment(0.1, 3.0, 10)]})
    accounting_benchmark.main(["--json", "repeats=2"])
    printed = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in printed["seconds"]]
    assert names == ["1,000 equal rounds, prv", "one, prv", "one, rdp",
                     "σ for ε = 8: q=0.1, 200 steps"]  # fmt: skip
    assert all(0 < r["least"] <= r["median"] <= r["most"] for r in printed["seconds"])


def test_a_divided_pool_is_not_priced_by_the_counts_of_natural_sites() -> None:
    with pytest.raises(SettingsError, match="say nothing of those of partition=iid"):
        public_sizes(load_settings(["partition=iid"]))
    one = load_settings(["partition=iid", "privacy.public_patients=300"])
    assert public_sizes(one) == {"each site": 300}
