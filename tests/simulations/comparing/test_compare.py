"""``fedrounds compare``: paired differences, the spread over seeds, and what is refused."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedrounds
from common.checkpoint import read_tensors, write_tensors
from common.errors import CheckpointError
from common.metrics import figures
from server.counts_file import read_counts
from simulations.comparing.figures import pairs_of
from simulations.comparing.runs import ComparedRun
from tests.conftest import FAST

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seeds of one method, another method, each site alone, and one of another split."""
    folder = tmp_path_factory.mktemp("runs")
    words = [*FAST, f"data.root={hospitals}", "privacy=none", "engine.workers=1", "rounds=1"]
    made = {
        "fedavg-0": [],
        "fedavg-1": ["seed=1"],
        "fedprox-1": ["seed=1", "strategy=fedprox", "strategy.proximal=30"],
        "alone": ["strategy=local"],
        "split": ["data.split_key=other"],
    }
    for name, more in made.items():
        assert fedrounds.main(["simulate", *words, *more, f"output_dir={folder / name}"]) == 0
    return {name: folder / name for name in made}


def compared(capsys: Capture, *folders: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert fedrounds.main(["compare", *map(str, folders), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_the_counts_that_are_kept_are_those_of_the_result(runs: dict[str, Path]) -> None:
    sites = read_counts(runs["fedavg-0"])
    for site in result_of(runs["fedavg-0"])["sites"]:
        kept = sites[site["name"]]
        found = figures(kept.counts, ("nodule", "infiltrate"), kept.replicates)
        assert found["auroc"] == site["metrics"]["auroc"]
        assert found["log_loss"] == site["metrics"]["log_loss"]


def test_methods_are_told_apart_paired_by_seed_and_their_spread_is_apart(
    runs: dict[str, Path], capsys: Capture
) -> None:
    folders = [runs["fedavg-0"], runs["fedprox-1"], runs["fedavg-1"]]
    found = compared(capsys, *folders)
    names = [str(folder) for folder in folders]
    assert [m["runs"] for m in found["methods"]] == [[names[0], names[2]], [names[1]]]
    assert [m["settings"]["strategy.name"] for m in found["methods"]] == ["fedavg", "fedprox"]
    assert all(set(m["settings"]) == {"strategy.name", "strategy.proximal"}
               for m in found["methods"])  # fmt: skip

    both = [result_of(f)["metrics"]["auroc_macro"]["value"] for f in (folders[0], folders[2])]
    spread = found["methods"][0]["spread"]["auroc_macro"]
    assert spread == {
        "runs": 2, "mean": pytest.approx(statistics.fmean(both)),
        "sd": pytest.approx(abs(both[0] - both[1]) / 2**0.5), "min": min(both), "max": max(both),
    }  # fmt: skip
    (against,) = found["differences"]
    (pair,) = against["pairs"]
    assert (pair["run"], pair["baseline"], pair["seeds"]) == (names[1], names[2], [1, 1])
    one, other = result_of(folders[1]), result_of(folders[2])
    for name in ("auroc_macro", "log_loss", "auprc_micro"):
        expected = one["metrics"][name]["value"] - other["metrics"][name]["value"]
        assert pair["pooled"][name]["value"] == pytest.approx(expected, abs=1e-12)
    for here, there in zip(one["sites"], other["sites"], strict=True):
        expected = (
            here["metrics"]["auroc_macro"]["value"] - there["metrics"]["auroc_macro"]["value"]
        )
        assert pair["sites"][here["name"]]["value"] == pytest.approx(expected, abs=1e-12)
    low, high = pair["pooled"]["auroc_macro"]["low"], pair["pooled"]["auroc_macro"]["high"]
    assert low < pair["pooled"]["auroc_macro"]["value"] < high


def test_each_sites_own_model_is_compared_at_that_site(
    runs: dict[str, Path], capsys: Capture
) -> None:
    found = compared(capsys, runs["alone"], runs["fedavg-0"])
    (pair,) = found["differences"][0]["pairs"]
    alone = {s["name"]: s["metrics"] for s in result_of(runs["alone"])["sites"]}
    for site in result_of(runs["fedavg-0"])["sites"]:
        gain = site["metrics"]["auroc_macro"]["value"] - alone[site["name"]]["auroc_macro"]["value"]
        assert pair["sites"][site["name"]]["value"] == pytest.approx(gain, abs=1e-12)


def test_it_is_printed_as_tables_and_as_markdown(runs: dict[str, Path], capsys: Capture) -> None:
    words = ["compare", *(str(runs[name]) for name in ("fedavg-0", "fedavg-1", "fedprox-1"))]
    assert fedrounds.main(words) == 0
    assert "paired by patient, 95% intervals" in capsys.readouterr().out
    assert fedrounds.main([*words, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (differs,) = (line for line in lines if line.startswith("| macro AUROC at northfield |"))
    assert "[" in differs
    at = lines.index("**Spread over seeds on the same patients: mean ± sd (min to max)**")
    (spread,) = (line for line in lines[at:] if line.startswith("| macro AUROC |"))
    assert " ± " in spread
    assert "(one run)" in spread


def test_runs_over_other_patients_are_refused_and_what_differs_is_named(
    runs: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    assert fedrounds.main(["compare", str(runs["fedavg-0"]), str(runs["split"])]) == 2
    error = capsys.readouterr().err
    assert "northfield tested other patients" in error
    assert "southgate tested other patients" in error

    def changed(name: str, **facts: Any) -> str:
        """The first run, saying other things of itself."""
        folder = Path(shutil.copytree(runs["fedavg-0"], tmp_path / name))
        result = result_of(folder)
        result["model"] |= facts
        (folder / "result.json").write_text(json.dumps(result))
        return str(folder)

    def counts(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
        """The first run with other counts."""
        folder = Path(shutil.copytree(runs["fedavg-0"], tmp_path / name))
        tensors, told = read_tensors(folder, "test_counts")
        write_tensors(folder, "test_counts", change(tensors), told)
        return str(folder)

    for other, said in (
        (changed("classes", classes=["nodule", "cyst"]), "its classes are nodule, cyst"),
        (
            counts("sites", lambda t: {k: v for k, v in t.items() if k.startswith("north")}),
            "counts of the sites northfield, unlike",
        ),
        (counts("none", lambda _: {}), "no site's exact counts of test patients"),
        (
            counts("draws", lambda t: {k: v[::-1] if "replicates" in k else v
                                       for k, v in t.items()}),
            "northfield drew other patients, by another data.split_key",
        ),
    ):  # fmt: skip
        assert fedrounds.main(["compare", str(runs["fedavg-0"]), other]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "only runs over the same test patients can be compared" in error


def test_counts_that_are_missing_or_not_to_be_believed_are_refused(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(runs["fedavg-0"], tmp_path / "bad"))
    tensors, told = read_tensors(folder, "test_counts")
    bad = {k: -v.astype("int64") if k.endswith("positives") else v for k, v in tensors.items()}
    write_tensors(folder, "test_counts", bad, told)
    with pytest.raises(CheckpointError, match="a count is negative"):
        read_counts(folder)
    (folder / "test_counts.json").unlink()
    with pytest.raises(CheckpointError, match=r"test_counts\.json: cannot be read"):
        read_counts(folder)


def test_runs_are_paired_by_seed_and_each_is_taken_once(runs: dict[str, Path]) -> None:
    zero, one = (ComparedRun.read(runs[name]) for name in ("fedavg-0", "fedavg-1"))
    assert pairs_of([one, zero], [zero, one]) == [(one, one), (zero, zero)]
    assert pairs_of([zero, zero], [zero, one]) == [(zero, zero)]
    assert pairs_of([zero], [one]) == [(zero, one)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}"], "expected two folders of finished runs or more"),
        (["{run}", "{run}"], "one folder is given twice"),
        (["{run}", "{run}/.", "--jsn"], "did you mean '--json'?"),
        (["{run}", "{run}/sites"], "result.json: cannot be read"),
    ],
)
def test_wrong_words_are_told(
    runs: dict[str, Path], capsys: Capture, words: list[str], said: str
) -> None:
    given = [word.format(run=runs["fedavg-0"]) for word in words]
    assert fedrounds.main(["compare", *given]) == 2
    assert said in capsys.readouterr().err


def test_where_a_run_is_told_and_how_it_runs_do_not_make_another_method(
    runs: dict[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    folder = Path(shutil.copytree(runs["fedavg-1"], tmp_path / "again"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["engine"]["workers"], config["output_dir"] = 2, str(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (method,) = compared(capsys, runs["fedavg-0"], folder)["methods"]
    assert method["seeds"] == [0, 1]
