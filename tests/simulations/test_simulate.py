"""``fedrounds simulate`` end to end: outputs, errors, engines, ledgers, sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import fedrounds
from common.checkpoint import read_tensors
from common.compose import load_settings
from common.metrics.text import figure_text
from common.model_file import read_model_file
from common.start import new_run
from tests.simulations.conftest import result_of


def test_a_private_run_writes_everything_and_prints_its_promise_first(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = simulate()
    assert code == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert "ε ≤ 8" in first
    assert "δ = 1e-05" in first
    assert {p.name for p in output.iterdir()} == {
        "config.yaml", "run.json", "rounds.jsonl", "model.safetensors", "model.json",
        "report.html", "result.json", "sites", "checkpoint", "witness.json",
        "MODEL_CARD.md", "model_card.json", "test_counts.json", "test_counts.safetensors",
    }  # fmt: skip
    result = result_of(output)
    assert result["schema"] == 1
    assert result["rounds"] == 2
    assert result["bytes"]["down"] > 0
    assert result["simulation"]["exact_counts"] is True
    for site in result["sites"]:
        privacy = site["privacy"]
        assert privacy["unit"] == "patient"
        assert privacy["adjacency"] == "add-or-remove-one"
        assert privacy["accountant"] == "prv"
        assert privacy["steps"] == 4
        assert 0 < privacy["epsilon_run"] <= 8
        assert privacy["epsilon"] == privacy["epsilon_run"]
        assert privacy["composition"] == "one plan"
        assert site["evaluate_only"] is None
        assert site["released"] == "exact"
        folder = output / "sites" / site["name"]
        assert {p.name for p in folder.iterdir()} == {
            "site.yaml", "site.key", "ledger.sqlite", "ledger.head", "ledger.lock", "answers",
            "disclosure.jsonl",
        }  # fmt: skip
    assert len((output / "rounds.jsonl").read_text().splitlines()) == 2
    assert read_model_file(output)[0].operating_point is None
    page = (output / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_a_plain_run_says_that_it_is_not_private(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = simulate("privacy=none")
    assert code == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("privacy: none")
    (row,) = (line for line in out.splitlines() if line.startswith("│ nodule "))
    assert figure_text(result_of(output)["metrics"]["auprc"]["nodule"]) in row
    assert all(site["privacy"] is None for site in result_of(output)["sites"])
    assert not list(output.rglob("ledger.sqlite"))


def test_two_runs_on_one_ledger_dir_compose(
    simulate: Callable[..., tuple[int, Path]], tmp_path: Path
) -> None:
    ledgers = f"ledger_dir={tmp_path / 'ledgers'}"
    first = result_of(simulate(ledgers, name="one")[1])["sites"][0]["privacy"]
    second = result_of(simulate(ledgers, name="two")[1])["sites"][0]["privacy"]
    assert first["epsilon"] == first["epsilon_run"] == second["epsilon_run"]
    assert second["epsilon"] > first["epsilon"] + 1


def test_the_seed_does_not_set_the_noise(simulate: Callable[..., tuple[int, Path]]) -> None:
    weights = [read_tensors(simulate(name=name)[1], "model")[0] for name in ("one", "two")]
    assert any(weights[0][k].tobytes() != weights[1][k].tobytes() for k in weights[0])


def weights_of(output: Path) -> dict[str, bytes]:
    return {k: v.tobytes() for k, v in read_tensors(output, "model")[0].items()}


def test_worker_processes_give_the_same_bits(simulate: Callable[..., tuple[int, Path]]) -> None:
    one = weights_of(simulate("privacy=none", name="one")[1])
    two = weights_of(simulate("privacy=none", "engine.workers=2", name="two")[1])
    assert one == two
    other = weights_of(simulate("privacy=none", "seed=1", name="other")[1])
    assert one != other


@pytest.mark.integration
def test_ray_gives_the_same_bits_even_beside_a_foreign_common(
    simulate: Callable[..., tuple[int, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = weights_of(simulate("privacy=none", name="one")[1])
    for package in ("common", "client"):
        (tmp_path / "elsewhere" / package).mkdir(parents=True)
        (tmp_path / "elsewhere" / package / "__init__.py").write_text(
            "raise RuntimeError('foreign')"
        )
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, output = simulate("privacy=none", "engine=ray", "engine.workers=2", name="ray")
    assert code == 0
    assert weights_of(output) == one


def test_local_models_are_each_scored_on_every_site(
    simulate: Callable[..., tuple[int, Path]],
) -> None:
    _, output = simulate("privacy=none", "strategy=local")
    result = result_of(output)
    assert result["metrics"] is None
    assert set(result["local_metrics"]) == {"northfield", "southgate"}
    sizes = [m["log_loss"]["support"] for m in result["local_metrics"].values()]
    assert sizes[0] == sizes[1]
    for name, metrics in result["local_metrics"].items():  # each with what was fitted for it
        point = read_model_file(output / f"model-{name}.json")[0].operating_point
        assert point is not None
        assert point.temperature == metrics["operating_point"]["temperature"]


def test_json_goes_to_standard_output_alone(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, output = simulate("privacy=none", "rounds=1", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == result_of(output)
    assert "privacy: none" in captured.err


def test_a_sweep_ends_with_one_table(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = simulate("-m", "rounds=1", "privacy.epsilon=2,8")
    assert code == 0
    runs = json.loads((output / "sweep.json").read_text())["runs"]
    assert [round(run["epsilon_run"]) for run in runs] == [2, 8]
    assert "sweep" in capsys.readouterr().out


def test_settings_are_kept_resolved(simulate: Callable[..., tuple[int, Path]]) -> None:
    _, output = simulate("privacy=none", "rounds=1", "seed=5")
    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["seed"] == 5
    assert "${" not in (output / "config.yaml").read_text()


def test_a_run_that_goes_on_elsewhere_keeps_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(load_settings(["output_dir=run", "ledger_dir=ledgers", "data.root=images"]))
    assert run.settings.ledger_dir == str(tmp_path / "ledgers")
    assert run.settings.data.root == str(tmp_path / "images")
    assert run.output_dir == tmp_path / "run"


def test_a_site_column_makes_sites(
    hospitals: Path, tmp_path: Path, simulate: Callable[..., tuple[int, Path]]
) -> None:
    root = tmp_path / "one"
    root.mkdir()
    rows = []
    for site in sorted(hospitals.iterdir()):
        (root / site.name).symlink_to(site)
        lines = (site / "metadata.csv").read_text().splitlines()
        rows += [f"{site.name}/{line},{site.name}" for line in lines[1:]]
        header = lines[0] + ",hospital"
    (root / "all.csv").write_text("\n".join([header, *rows]) + "\n")
    columns = ["data.table=all.csv", "data.site_column=hospital"]
    code, output = simulate(f"data.root={root}", *columns, "privacy=none")
    assert code == 0
    plain = simulate("privacy=none", name="folders")[1]
    assert weights_of(output) == weights_of(plain)


def test_derived_classes_and_counts_are_marked(simulate: Callable[..., tuple[int, Path]]) -> None:
    words = ["data.classes=null", "privacy.public_patients=null", "rounds=1"]
    result = result_of(simulate(*words)[1])
    assert result["model"]["classes"] == ["infiltrate", "nodule"]
    assert result["simulation"]["classes_derived"] is True
    assert result["simulation"]["public_patients_derived"] is True


def test_the_report_is_made_anew(simulate: Callable[..., tuple[int, Path]]) -> None:
    _, output = simulate("privacy=none", "rounds=1")
    (output / "report.html").unlink()
    assert fedrounds.main(["report", str(output)]) == 0
    assert "<svg" in (output / "report.html").read_text()
    assert fedrounds.main(["report", str(output / "sites")]) == 2


def test_noised_figures_come_with_what_the_noise_may_hide(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = simulate("privacy.release_metrics=noised", "privacy.evaluation_epsilon=8")
    assert code == 0
    assert "noise of ±" in capsys.readouterr().out
    result = result_of(output)
    assert {site["released"] for site in result["sites"]} == {"noised"}
    assert result["metrics"] == result["noised_metrics"]
    assert result["metrics"]["noise_std"] > 0
    assert result["simulation"]["released_metrics"] == "noised"
    line = json.loads((output / "rounds.jsonl").read_text().splitlines()[-1])
    assert line["validation"]["pooled"] is None
    assert "Patients counted under noise" in (output / "report.html").read_text()


def test_where_nothing_is_released_the_result_says_so(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = simulate("privacy.release_metrics=none", "rounds=1")
    assert code == 0
    assert "no site released any figure" in capsys.readouterr().out
    result = result_of(output)
    assert result["metrics"] is None
    assert [site["metrics"] for site in result["sites"]] == [None, None]


def test_a_cap_over_two_runs_on_one_ledger(
    simulate: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second run gets what the first left: here nothing, so that it does not start."""
    words = [f"ledger_dir={tmp_path / 'ledgers'}", "privacy.epsilon_max=9"]
    assert simulate(*words, name="one")[0] == 0
    capsys.readouterr()
    code, output = simulate(*words, name="two")
    assert code == 2
    assert "northfield: evaluates only: budget" in capsys.readouterr().err
    assert not output.exists()
    witness = json.loads((tmp_path / "ledgers" / "witness.json").read_text())
    assert witness["northfield"]["entries"] == 6  # genesis, plan, two rounds of intent and commit


def test_a_lost_ledger_stops_the_next_run(
    simulate: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = f"ledger_dir={tmp_path / 'ledgers'}"
    assert simulate(words, name="one")[0] == 0
    (tmp_path / "ledgers" / "northfield" / "ledger.sqlite").unlink()
    capsys.readouterr()
    code, output = simulate(words, name="two")
    assert code == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "ledgers" / "northfield" / "ledger.head") in error
    assert not output.exists()
