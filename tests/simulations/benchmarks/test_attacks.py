"""What a lying site answers, by hand; the tables that the benchmarks keep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import SettingsError
from server.strategies.robust import squared_distances
from simulations.benchmarks import attack, unlike
from simulations.benchmarks.attacks import ATTACKS, alie, blow_up, min_max, sign_flip
from simulations.hospitals import HOSPITALS, kept_hospitals

SENT = np.array([1.0, 1.0])
HONEST = np.array([[2.0, 0.0], [4.0, 0.0], [3.0, 3.0]])
OWN = np.array([2.0, 3.0])


def test_attacks_by_hand() -> None:
    assert sign_flip(SENT, HONEST, OWN).tolist() == [-3.0, -7.0]
    assert blow_up(SENT, HONEST, OWN).tolist() == [1e6 + 1, 2e6 + 1]
    deviation = np.array([(2 / 3) ** 0.5, 2**0.5])
    np.testing.assert_allclose(alie(SENT, HONEST, OWN), [3, 1] - 1.5 * deviation)


def test_min_max_goes_as_far_as_two_honest_answers_are_from_each_other() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(6, 30))
    answer = min_max(SENT, honest, OWN)
    allowed = squared_distances(honest).max()
    assert ((answer - honest) ** 2).sum(axis=1).max() == pytest.approx(allowed, rel=1e-6)
    assert ((answer - honest.mean(axis=0)) * honest.std(axis=0) < 0).all()


def test_equal_answers_leave_min_max_nowhere_to_go() -> None:
    same = np.ones((3, 2))
    np.testing.assert_allclose(min_max(SENT, same, OWN), [1, 1])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """One strategy under two attacks, on few and small images."""
    monkeypatch.setattr(attack, "STRATEGIES", ("median",))
    monkeypatch.setattr(attack, "KINDS", ("clean", "label_flip", "times_1e6"))
    monkeypatch.setattr(attack, "kept_hospitals", _few)
    small = ["rounds=1", "local_steps=1", "model.width=4", "data.image_size=16"]
    return [f"output_dir={tmp_path / 'attack'}", *small, "strategy.batch_size=4"]


def _few(folder: Path, seed: int) -> Path:
    return kept_hospitals(folder, seed, (replace(HOSPITALS[0], patients=80),))


def test_the_table_of_attacks_goes_on_where_it_stopped(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack.main(tiny)
    folder = tmp_path / "attack"
    text = (folder / "attack.md").read_text()
    assert text.splitlines()[0] == "| Strategy | clean | label_flip | times_1e6 |"
    assert "not run" not in text
    flipped = (folder / "sites-flipped" / attack.LIAR / "site.yaml").read_text()
    assert "nodule: infiltrate" in flipped
    assert "nodule" not in (folder / "sites" / attack.LIAR / "site.yaml").read_text()
    monkeypatch.setattr(attack, "run_cell", lambda *_: pytest.fail("ran again"))
    attack.main(tiny)
    with pytest.raises(SettingsError, match="other settings"):
        attack.main([*tiny, "strategy.learning_rate=0.5"])


def test_a_lie_reaches_the_server_in_the_place_of_the_answer(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The mean of seven takes a million times the update; the median takes no notice."""
    monkeypatch.setattr(attack, "KINDS", ("times_1e6",))
    monkeypatch.setattr(attack, "STRATEGIES", ("fedavg", "median"))
    largest = []

    def kept(*words: object) -> object:
        outcome = run(*words)  # type: ignore[arg-type]
        largest.append(max(float(abs(a).max()) for a in outcome.models["shared"].values()))
        return outcome

    run = attack.run_rounds
    monkeypatch.setattr(attack, "run_rounds", kept)
    attack.main(tiny)
    assert largest[0] > 100 > 10 > largest[1]


def test_without_a_folder_nothing_is_run() -> None:
    for main in (attack.main, unlike.main):
        with pytest.raises(SettingsError, match="output_dir must be given"):
            main(["seed=1"])


def test_every_kind_is_clean_an_attack_or_a_flip_of_labels() -> None:
    assert set(attack.KINDS) == {"clean", "label_flip", *ATTACKS}


def line(number: int, shared: float | None, personal: float | None = None) -> dict[str, object]:
    validation = {
        "pooled": {"auroc_macro": shared},
        "personal": {"pooled": {"auroc_macro": personal}},
    }
    return {"round": number, "validation": validation}


def test_rounds_to_reach_a_figure() -> None:
    lines = [{"round": 1, "validation": None}, line(2, None), line(4, 0.87, 0.88), line(6, 0.9)]
    assert unlike.rounds_to_reach(lines, "") == 6
    assert unlike.rounds_to_reach(lines, "personal") == 4
    assert unlike.rounds_to_reach(lines[:3], "") is None


def test_the_table_of_unlike_sites_has_a_row_for_personal_models(
    hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlike, "BASE", ("privacy=none", "evaluate_every=1", "engine.workers=1"))
    monkeypatch.setattr(unlike, "STRATEGIES", ("fedbn", "ditto"))
    small = ["rounds=1", "local_steps=1", "model.width=4", "strategy.batch_size=4"]
    words = [f"output_dir={tmp_path / 'unlike'}", f"data.root={hospitals}", *small]
    unlike.main(words)
    text = (tmp_path / "unlike" / "unlike.md").read_text()
    names = [row.split("|")[1].strip() for row in text.splitlines()[2:]]
    assert names == ["fedbn", "ditto", "ditto, personal"]
    assert "not in 1" in text
    rows = json.loads((tmp_path / "unlike" / "unlike.json").read_text())["rows"]
    assert all(set(row["sites"]) == {"northfield", "southgate"} for row in rows)
