"""``fedrounds simulate`` end to end: outputs, errors, engines, ledgers, sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedrounds
from common.checkpoint import read_tensors
from common.compose import load_settings
from common.start import new_run
from tests.conftest import FAST

BASE = [*FAST, "engine.workers=1", "privacy.public_patients=42"]


@pytest.fixture
def simulate(hospitals: Path, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Run the command over the small hospitals; returns exit code and output folder."""

    def run(*words: str, name: str = "run") -> tuple[int, Path]:
        output = tmp_path / name
        given = {w.split("=", 1)[0] for w in words}
        base = [*BASE, f"data.root={hospitals}", f"output_dir={output}"]
        kept = [w for w in base if w.split("=", 1)[0] not in given]
        return fedrounds.main(["simulate", *kept, *words]), output

    return run


def result_of(output: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((output / "result.json").read_text())
    return result


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
        "MODEL_CARD.md", "model_card.json",
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
    read_tensors(output, "model")
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
    assert capsys.readouterr().out.splitlines()[0].startswith("privacy: none")
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
    result = result_of(simulate("privacy=none", "strategy=local")[1])
    assert result["metrics"] is None
    assert set(result["local_metrics"]) == {"northfield", "southgate"}
    sizes = [m["log_loss"]["support"] for m in result["local_metrics"].values()]
    assert sizes[0] == sizes[1]


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


def failing(capsys: pytest.CaptureFixture[str], run: Callable[[], tuple[int, Path]]) -> str:
    """The error text of a run that must exit 2 and leave nothing behind."""
    code, output = run()
    assert code == 2
    assert not output.exists()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["privacy.epsilonn=3"], "did you mean 'epsilon'"),
        (["data.root=/nowhere"], "/nowhere"),
        (["data.table=other.csv"], "other.csv"),
        (["data.label_column=finding"], "did you mean 'findings'"),
        (["data.classes=[nodule,mass]"], "'infiltrate'"),
        (["privacy.public_patients={northfield: 10}"], "southgate"),
        (["model=vgg"], "resnet18"),
        (["model.name=resnet"], "did you mean 'resnet18'"),
        (["strategy.name=fedav"], "did you mean 'fedavg'"),
        (["privacy.delta=0.01"], "at most 1 / (10 × patients)"),
        (["privacy.public_patients=3"], "batch_size=16"),
        (["privacy.noise_multiplier=0.3"], "costs ε="),
        (["seed=-1", "model.width=0"], "model.width"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    words: list[str],
    message: str,
    simulate: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in failing(capsys, lambda: simulate(*words))


def rewrite_table(
    hospitals: Path, tmp_path: Path, change: Callable[[list[str]], list[str]]
) -> Path:
    """A copy of the hospitals whose tables are changed, images linked."""
    root = tmp_path / "changed"
    for site in sorted(hospitals.iterdir()):
        (root / site.name).mkdir(parents=True)
        (root / site.name / "images").symlink_to(site / "images")
        rows = (site / "metadata.csv").read_text().splitlines()
        (root / site.name / "metadata.csv").write_text(
            "\n".join([rows[0], *change(rows[1:])]) + "\n"
        )
    return root


def test_one_class_only_in_the_whole_pool(
    hospitals: Path,
    tmp_path: Path,
    simulate: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = rewrite_table(hospitals, tmp_path, lambda rows: [r for r in rows if "No Finding" in r])
    words = [f"data.root={root}", "data.label_separator=null", "data.negative_label=null"]
    text = failing(capsys, lambda: simulate(*words, "data.classes=['No Finding',nodule]"))
    assert "at least two classes" in text


def test_no_rows_left(
    hospitals: Path,
    tmp_path: Path,
    simulate: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = rewrite_table(hospitals, tmp_path, lambda _: [])
    assert "no rows" in failing(capsys, lambda: simulate(f"data.root={root}"))


def test_no_test_patient_in_the_whole_pool(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    text = failing(capsys, lambda: simulate("data.test_fraction=1e-9"))
    assert "test part" in text


def test_one_class_at_one_site_is_a_warning_and_null(
    hospitals: Path,
    tmp_path: Path,
    simulate: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def at_southgate(rows: list[str]) -> list[str]:
        return [r for r in rows if "/SO" not in r or "No Finding" in r]

    root = rewrite_table(hospitals, tmp_path, at_southgate)
    code, output = simulate(f"data.root={root}", "rounds=1", "privacy=none")
    assert code == 0
    assert "warning: southgate: only one class" in capsys.readouterr().out
    metrics = {s["name"]: s["metrics"] for s in result_of(output)["sites"]}
    assert metrics["southgate"]["auroc_macro"]["value"] is None
    assert metrics["northfield"]["auroc_macro"]["value"] is not None


def test_a_folder_that_holds_a_run_is_refused_and_kept(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, output = simulate("privacy=none", "rounds=1")
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    capsys.readouterr()
    code, _ = simulate("privacy=none", "rounds=1")
    assert code == 2
    assert "holds a run already" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}


def test_a_finished_run_is_not_resumed(
    simulate: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, output = simulate("privacy=none", "rounds=1")
    assert fedrounds.main(["simulate", "--resume", str(output)]) == 2
    assert "has ended" in capsys.readouterr().err


def test_a_run_that_goes_on_elsewhere_keeps_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(load_settings(["output_dir=run", "ledger_dir=ledgers", "data.root=images"]))
    assert run.settings.ledger_dir == str(tmp_path / "ledgers")
    assert run.settings.data.root == str(tmp_path / "images")
    assert run.output_dir == tmp_path / "run"


def test_a_folder_that_cannot_be_made_is_an_error_and_no_traceback(
    simulate: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    code, _ = simulate("privacy=none", f"output_dir={tmp_path / 'file' / 'run'}")
    assert code == 2
    assert "file" in capsys.readouterr().err


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


def test_help_and_unknown_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["simulate", "--help"], ["report", "--help"]):
        assert fedrounds.main(words) == 0
        assert capsys.readouterr().out.startswith("usage: ")
    assert fedrounds.main(["simulte"]) == 2
    assert "did you mean 'simulate'" in capsys.readouterr().err
    assert fedrounds.main([]) == 2


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
