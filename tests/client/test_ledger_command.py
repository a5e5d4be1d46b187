"""``fedrounds ledger``: what a data manager sees and does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import fedrounds
from client.app import handle_train
from client.site import Site
from common.config import Experiment
from common.messages import TrainRequest
from common.models import build_model
from common.parameters import arrays_of
from tests.conftest import train_ids

Out = pytest.CaptureFixture[str]


@pytest.fixture
def site(make_site: Callable[..., Site], experiment: Experiment) -> Site:
    """One round of a plan of two, under a cap."""
    site = make_site(
        dict.fromkeys(train_ids(5), 1), public_patients=20, epsilon_max=10.0, delta=1e-3
    )
    arrays = arrays_of(build_model(experiment, seed=0))
    handle_train(TrainRequest("run", 1, experiment, arrays).pack(), site)
    return site


def ledger(*words: object) -> int:
    return fedrounds.main(["ledger", *map(str, words)])


def test_show_prices_each_entry_and_says_what_is_left(site: Site, capsys: Out) -> None:
    assert ledger("show", site.folder) == 0
    out = capsys.readouterr().out
    assert "6 steps" in out
    assert "the site's cap is ε = 10" in out
    assert "for each patient (add-or-remove-one, prv)" in out

    assert ledger("show", site.folder, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["entries"]
    assert [row["kind"] for row in rows] == ["genesis", "plan", "intent", "commit"]
    assert rows[0]["epsilon"] == 0.0
    assert 7 < rows[1]["epsilon"] == rows[3]["epsilon"] <= 8
    assert rows[1]["left"] == 10 - rows[1]["epsilon"]
    assert rows[2]["left"] < rows[1]["left"]  # what is chosen from here on is counted by RDP


def test_verify_is_0_or_1_with_the_entry(site: Site, capsys: Out) -> None:
    assert ledger("verify", site.folder) == 0
    assert "4 entries, and the chain holds" in capsys.readouterr().out
    path = site.ledger().path
    path.write_bytes(path.read_bytes().replace(b'"steps":3', b'"steps":1'))
    assert ledger("verify", site.folder) == 1
    assert "entry 3 breaks the chain" in capsys.readouterr().err
    assert ledger("verify", site.folder, "--json") == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False
    assert ledger("show", site.folder) == 2
    assert "ledger.sqlite" in capsys.readouterr().err


def test_init_makes_one_ledger_and_keeps_the_comments(site: Site, capsys: Out) -> None:
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text())
    assert ledger("init", site.folder) == 2
    assert "recover" in capsys.readouterr().err

    text = "# kept\n" + yaml.safe_dump({**values, "genesis": None})
    path.write_text(text)
    assert ledger("init", site.folder) == 2  # its ledger is in use: the line was taken out
    assert values["genesis"] in capsys.readouterr().err
    for file in (site.ledger().path, site.ledger().head_path):
        file.unlink()
    assert ledger("init", site.folder) == 2  # it has a key, so it has had a ledger
    assert "site.key" in capsys.readouterr().err
    site.ledger().key_path.unlink()
    assert ledger("init", site.folder) == 0
    assert path.read_text().startswith("# kept\n")
    assert yaml.safe_load(path.read_text())["genesis"] != values["genesis"]
    assert len(Site.open(site.folder).ledger().read().rows) == 1


def test_a_missing_ledger_is_refused_and_recovered_with_a_charge(site: Site, capsys: Out) -> None:
    site.ledger().path.unlink()
    assert ledger("verify", site.folder) == 1
    assert "it is missing" in capsys.readouterr().err
    assert ledger("recover", site.folder, "--assume-spent", 8, "--reason", "disk lost") == 0
    assert "ε = 8 at δ = 0.0005" in capsys.readouterr().out
    again = Site.open(site.folder)
    assert ledger("show", site.folder, "--json") == 0
    [row] = json.loads(capsys.readouterr().out)["entries"]
    assert (row["epsilon"], round(row["left"], 6)) == (8.0, 2.0)
    assert "disk lost" in row["what"]
    line = json.loads((site.folder / "disclosure.jsonl").read_text().splitlines()[-1])
    assert line["assumed_epsilon"] == 8.0
    assert again.settings.genesis != site.settings.genesis
    assert list(site.folder.glob("ledger.head.before-*"))  # the old files are kept


def test_recover_takes_no_less_than_the_ledger_still_says(site: Site, capsys: Out) -> None:
    """A ledger that holds, or can still be read, is not made cheaper by giving it up."""
    before = {p.name: p.read_bytes() for p in site.folder.glob("ledger.*")}
    assert ledger("recover", site.folder, "--assume-spent", 0.001) == 2
    assert "--assume-spent 0.001 is less" in capsys.readouterr().err
    assert before == {p.name: p.read_bytes() for p in site.folder.glob("ledger.*")}
    site.ledger().head_path.unlink()  # refused now, and still readable
    assert ledger("recover", site.folder, "--assume-spent", 0.001) == 2
    capsys.readouterr()

    path = site.folder / "site.yaml"
    text = path.read_text()
    values = yaml.safe_load(text)
    values["data"]["split_key"] = "other"
    path.write_text(yaml.safe_dump(values))
    assert ledger("recover", site.folder, "--assume-spent", 20) == 2
    assert "may not move patients" in capsys.readouterr().err
    path.write_text(text)
    assert ledger("recover", site.folder, "--assume-spent", 20) == 0


def test_an_init_that_was_cut_off_can_be_done_again(site: Site, capsys: Out) -> None:
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text()) | {
        "genesis": None,
        "ledger_dir": str(site.folder / "n"),
    }
    path.write_text(yaml.safe_dump(values))
    assert ledger("init", site.folder) == 0
    path.write_text(yaml.safe_dump(values))
    (site.folder / "n" / "ledger.head").unlink()
    assert ledger("init", site.folder) == 0
    assert ledger("verify", site.folder) == 0


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "expected 'ledger ACTION SITE'"),
        (["shw", "{site}"], "did you mean 'show'"),
        (["show"], "expected 'ledger ACTION SITE'"),
        (["show", "{site}", "more"], "expected nothing more"),
        (["recover", "{site}"], "--assume-spent EPSILON"),
        (["recover", "{site}", "--assume-spent", "much"], "a number above 0, got 'much'"),
        (["recover", "{site}", "--assume-spent", "-1"], "a number above 0"),
        (["recover", "{site}", "--assume-spent", "8", "--delta", "2"], "and below 1, got '2'"),
        (["recover", "{site}", "--assume-spent", "8", "--why", "x"], "--reason TEXT"),
        (["init", "{site}", "--json"], "prints no JSON"),
        (["show", "/nowhere"], "site.yaml"),
    ],
)
def test_wrong_words_are_told_and_nothing_changes(
    site: Site, capsys: Out, words: list[str], match: str
) -> None:
    before = site.ledger().path.read_bytes()
    assert ledger(*[word.format(site=site.folder) for word in words]) == 2
    assert match in capsys.readouterr().err
    assert site.ledger().path.read_bytes() == before


def test_help(capsys: Out) -> None:
    assert ledger("--help") == 0
    assert "recover SITE --assume-spent" in capsys.readouterr().out


def test_the_key_is_its_owners_alone(site: Site) -> None:
    path: Path = site.ledger().key_path
    assert path.stat().st_mode & 0o077 == 0
