"""``fedrounds simulate`` on wrong settings and data: named, exit code 2, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fedrounds
from tests.simulations.conftest import result_of


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
        (["privacy.subgroups=[sexes]"], "did you mean 'sex'"),
        (["evaluation.subgroups={sex: {bands: [2, 1]}}"], "expected rising bands"),
        (
            ["privacy.subgroups=[sex]", "privacy.release_metrics=none"],
            "privacy.subgroups with release_metrics: none",
        ),
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


def test_a_folder_that_cannot_be_made_is_an_error_and_no_traceback(
    simulate: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    code, _ = simulate("privacy=none", f"output_dir={tmp_path / 'file' / 'run'}")
    assert code == 2
    assert "file" in capsys.readouterr().err


def test_help_and_unknown_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["simulate", "--help"], ["report", "--help"]):
        assert fedrounds.main(words) == 0
        assert capsys.readouterr().out.startswith("usage: ")
    assert fedrounds.main(["simulte"]) == 2
    assert "did you mean 'simulate'" in capsys.readouterr().err
    assert fedrounds.main([]) == 2
