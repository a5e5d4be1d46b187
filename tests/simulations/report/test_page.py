"""``report.html`` of a real run: what stands in it, and that nothing in it is taken for HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import fedrounds
from common.compose import load_settings
from common.errors import CheckpointError
from simulations.report.page import render, write_report
from simulations.report.remake import remake_words
from simulations.report.run import FinishedRun

EVIL = "<script>alert('&')</script>"


class Page(HTMLParser):
    """What an HTML parser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def test_the_page_tells_the_run(finished_run: Path) -> None:
    run = FinishedRun.read(finished_run)
    page = Page((finished_run / "report.html").read_text())
    words = " ".join(page.text.split())
    for site in run.sites:
        assert site["name"] in words
        assert f"{site['privacy']['epsilon_run']:.3f}" in words
    value = run.result["metrics"]["auroc_macro"]
    assert f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" in words
    assert "2 sites trained for 2 of 2 rounds" in words
    assert "add-or-remove-one, prv" in words
    assert "Nobody: every site's answer is in each of the 2 rounds." in words
    for package in ("flwr", "torch", "opacus"):
        assert run.result["versions"][package] in words
    left = 9 - run.sites[0]["privacy"]["epsilon"]
    assert f"{left:.3f}" in words


def test_headings_links_and_ids_hold_together(finished_run: Path) -> None:
    page = Page((finished_run / "report.html").read_text())
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = [link[1:] for link in page.values("href") if link.startswith("#")]
    assert targets
    assert set(targets) <= set(ids)
    for attribute in ("aria-labelledby", "xlink:href"):
        assert {w.lstrip("#") for v in page.values(attribute) for w in v.split()} <= set(ids)


def test_every_plot_has_a_title_a_description_and_a_table(finished_run: Path) -> None:
    page = Page((finished_run / "report.html").read_text())
    plots = [attrs for tag, attrs in page.tags if tag == "svg"]
    drawn = {"roc": "roc-0", "reliability": "reliability-0", "abstention": "abstention-0"}
    metrics = FinishedRun.read(finished_run).result["metrics"]
    keys = [key for name, key in drawn.items() if name in metrics]
    keys += ["subgroups-0-0", "subgroups-0-1", "learning", "spending"]
    assert [attrs["aria-labelledby"] for attrs in plots] == [
        f"{key}-title {key}-description" for key in keys
    ]
    assert all(attrs["role"] == "img" for attrs in plots)
    assert sum(tag == "details" for tag, _ in page.tags) == len(plots)


def test_nothing_is_loaded_from_elsewhere(finished_run: Path) -> None:
    text = (finished_run / "report.html").read_text()
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object")]
    links = [link for a in ("src", "href", "xlink:href") for link in page.values(a)]
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_a_sites_own_pages_are_not_in_it(finished_run: Path) -> None:
    text = (finished_run / "report.html").read_text()
    assert "contact-sheet" not in text
    assert "pages/" not in text


def test_what_a_run_brings_is_text_and_never_html(changed: Callable[..., FinishedRun]) -> None:
    def result(facts: dict[str, Any]) -> None:
        renamed = json.dumps(facts["metrics"]).replace('"nodule"', json.dumps(EVIL))
        facts["metrics"] = json.loads(renamed)
        facts["experiment"] = EVIL
        facts["sites"][0]["name"] = EVIL
        facts["metrics"]["left_out"] = [EVIL]
        facts["incomplete"] = [EVIL]
        facts["versions"] = {EVIL: EVIL}

    def rounds(lines: list[dict[str, Any]]) -> None:
        lines[0]["refused"] = {EVIL: EVIL}
        lines[0]["validation"]["sites"] = {EVIL: lines[0]["validation"]["pooled"]}

    page = Page(render(changed(result, rounds)))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert page.text.count(EVIL) >= 8


def test_who_was_left_out_is_told_with_the_reason(changed: Callable[..., FinishedRun]) -> None:
    def rounds(lines: list[dict[str, Any]]) -> None:
        lines[0]["refused"] = {"southgate": "ledger"}
        lines[0]["dropped"] = ["northfield: came too late"]
        lines[0]["applied"] = False
        lines[1]["evaluate_only"] = {"southgate": "budget"}

    words = Page(render(changed(rounds=rounds))).text
    for part in ("ledger", "came too late", "too few answers", "evaluates only from here on"):
        assert part in words


def test_a_run_without_privacy_or_figures_says_so(changed: Callable[..., FinishedRun]) -> None:
    def result(facts: dict[str, Any]) -> None:
        facts["metrics"] = facts["local_metrics"] = None
        for site in facts["sites"]:
            site.update(privacy=None, metrics=None, released="none")

    def rounds(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["validation"] = None

    text = render(changed(result, rounds))
    assert "nothing bounds what the model reveals" in text
    assert "No site released any figure" in text
    assert "so there is no curve" in text
    assert "<svg" not in text


def test_a_consortiums_run_has_no_counts_and_the_servers_command(
    changed: Callable[..., FinishedRun],
) -> None:
    """A server knows no more than its messages: no patients, no images, no simulation."""

    def result(facts: dict[str, Any]) -> None:
        del facts["simulation"]
        for site in facts["sites"]:
            del site["patients"], site["images"]

    words = Page(render(changed(result))).text
    assert "A run of a consortium" in words
    assert "fedrounds server COORDINATOR experiment=phantom" in words
    assert "counted exactly" not in words


def test_equal_runs_give_equal_pages(finished_run: Path) -> None:
    run = FinishedRun.read(finished_run)
    assert render(run) == render(run)


@pytest.mark.parametrize("name", ["result.json", "rounds.jsonl", "config.yaml"])
def test_a_folder_without_a_finished_run_is_refused(run_folder: Path, name: str) -> None:
    (run_folder / name).write_text("no: [")
    with pytest.raises(CheckpointError, match=str(run_folder)):
        write_report(run_folder)
    assert fedrounds.main(["report", str(run_folder)]) == 2


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["privacy=none", "strategy=local", "seed=4", "rounds=3"],
        ["experiment=ham10000", "data.root=/x y/it's", "partition=dirichlet",
         "partition.alpha=0.1"],
        ["experiment=ham10000", "data.root=/x", "privacy.epsilon=null",
         "privacy.noise_multiplier=1.1", "privacy.public_patients={a: 3, b: 5}"],
        ["data=table", "data.root=/x", "data.image_pattern=images/{image_id}.jpg",
         "data.label_column=dx", "data.patient_column=p", "data.classes=['<b>',\"it's\",c d]",
         "data.label_map={No Finding: c d, x: '<b>'}", "strategy.learning_rate=1e-5"],
        ["output_dir=/elsewhere", "ledger_dir=/ledgers"],
    ],
)  # fmt: skip
def test_the_words_that_make_a_run_again_compose_to_its_settings(words: list[str]) -> None:
    settings = load_settings(words)
    again = load_settings(remake_words(settings))
    assert {**vars(again), "output_dir": None, "ledger_dir": None} == {
        **vars(settings), "output_dir": None, "ledger_dir": None,
    }  # fmt: skip


def test_the_words_are_few() -> None:
    words = remake_words(load_settings(["rounds=3", "privacy=none"]))
    assert words == ["experiment=phantom", "privacy=none", "rounds=3"]
