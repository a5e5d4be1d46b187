"""The model card: what it says of a real run, what it must not say, and what a person adds."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedrounds
from common.errors import SettingsError
from simulations.report.card import ANSWERS, PARTS, markdown, model_card, write_card
from simulations.report.card_parts import training_facts
from simulations.report.checklists import CLAIM, ITEMS, TRIPOD_AI
from simulations.report.remake import remake_section
from simulations.report.run import FinishedRun

OPEN = sum(item.part is None for item in ITEMS)


def card_of(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "model_card.json").read_text())
    return card


def test_a_finished_run_has_its_card_beside_the_model(finished_run: Path) -> None:
    run, card = FinishedRun.read(finished_run), card_of(finished_run)
    facts = json.loads((finished_run / "model.json").read_text())
    assert card["model"]["files"] == {"model.safetensors": facts["sha256"]}
    assert card["model"]["classes"] == run.result["model"]["classes"]
    assert card["model"]["explanations"].startswith("Grad-CAM")
    spent = max(site["privacy"]["epsilon_run"] for site in run.sites)
    for part in (f"ε ≤ {spent:.3f}", "δ = 1e-05", "each patient", "add-or-remove-one", "prv"):
        assert part in card["privacy"]["statement"]
    macro = run.result["metrics"]["auroc_macro"]
    found = card["performance"]["models"]["pooled over the sites"]["auroc_macro"]
    assert found == {end: macro[end] for end in ("value", "low", "high")}
    text = (finished_run / "MODEL_CARD.md").read_text()
    assert f"For a person to fill in: {OPEN} items" in text
    assert f"{macro['value']:.3f}" in text


def test_under_privacy_no_exact_count_stands_in_it(changed: Callable[..., FinishedRun]) -> None:
    """Were every exact count another one, not a letter of the card would change."""

    def another(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: another(item) for key, item in value.items()}
        if isinstance(value, list):
            return [another(item) for item in value]
        return value + 7 if isinstance(value, int) else value

    def result(facts: dict[str, Any]) -> None:
        for site in facts["sites"]:
            site["patients"], site["images"] = another(site["patients"]), another(site["images"])
        for metrics in [facts["metrics"], *(site["metrics"] for site in facts["sites"])]:
            for name in ("support", "confusion"):
                replace(metrics, name)

    def replace(values: dict[str, Any], name: str) -> None:
        for key, value in values.items():
            if key == name:
                values[key] = another(value)
            elif isinstance(value, dict):
                replace(value, name)

    before, after = changed(), changed(result)
    assert before.result != after.result
    assert model_card(before, {}) == model_card(after, {})
    sites = model_card(after, {})["data"]["sites"]
    assert [site["patients, as declared"] for site in sites] == [42, 42]


def test_the_card_names_what_the_weights_began_as(changed: Callable[..., FinishedRun]) -> None:
    run = changed()
    assert training_facts(run)["initialisation"] == "random, from the seed"
    model = dataclasses.replace(run.settings.model, pretrained="/home/me/own.pth", trainable="head")
    begun = dataclasses.replace(run, settings=dataclasses.replace(run.settings, model=model))
    said = training_facts(begun)["initialisation"]
    assert said.startswith("the weights of 'own.pth', and random ones where it has none; the back")


def test_a_count_that_was_derived_from_the_data_is_not_public(
    changed: Callable[..., FinishedRun],
) -> None:
    def result(facts: dict[str, Any]) -> None:
        facts["simulation"]["public_patients_derived"] = True

    for site in model_card(changed(result), {})["data"]["sites"]:
        assert set(site) == {"name", "part"}


def test_without_privacy_a_simulation_tells_its_counts(changed: Callable[..., FinishedRun]) -> None:
    def result(facts: dict[str, Any]) -> None:
        for site in facts["sites"]:
            site["privacy"] = None

    run = changed(result)
    card = model_card(run, {})
    assert "no differential privacy" in card["privacy"]["statement"]
    told = [site["patients in train"] for site in card["data"]["sites"]]
    assert told == [site["patients"]["train"] for site in run.sites]
    support = card["performance"]["models"]["pooled over the sites"]["support"]
    assert support == {c: f["support"] for c, f in run.result["metrics"]["auroc"].items()}


def test_an_audit_counts_for_the_sites_whose_constants_it_attacked(run_folder: Path) -> None:
    """A real one, by the command that the report names, but with few canaries."""
    commands = str(remake_section(FinishedRun.read(run_folder)).blocks[1])
    (line,) = re.findall(r"fedrounds (audit .*)/audit-northfield", commands)
    folder = run_folder / "audit-northfield"
    words = line.replace("output_dir=RUN", f"output_dir={folder}").split()
    assert fedrounds.main([*words, "canaries=256"]) in (0, 1)  # one of 1,000 is a false alarm
    found = json.loads((folder / "audit.json").read_text())
    (audit,) = model_card(FinishedRun.read(run_folder), {})["privacy"]["audits"]
    assert audit["verdict"] == found["verdict"]
    assert audit["of the constants of"] == "northfield, southgate"  # both declared 42 patients
    write_card(FinishedRun.read(run_folder))
    page = (run_folder / "MODEL_CARD.md").read_text()
    assert f"- verdict: {found['verdict']}; claim: (noise multiplier: 0.8; " in page

    found["claim"]["steps"] += 1
    (folder / "audit.json").write_text(json.dumps(found))
    (audit,) = model_card(FinishedRun.read(run_folder), {})["privacy"]["audits"]
    assert audit["of the constants of"] == "no site of this run"


def test_a_persons_answers_are_taken_in_and_kept(run_folder: Path) -> None:
    text = (
        "intended use: {statement: triage}\nCLAIM 2024: {7: two clinics}\nTRIPOD+AI: {3a: none}\n"
    )
    (run_folder / ANSWERS).write_text(text)
    write_card(FinishedRun.read(run_folder))
    card, page = card_of(run_folder), (run_folder / "MODEL_CARD.md").read_text()
    assert card["intended_use"] == "triage"
    answers = {(i["guideline"], i["item"]): i["answer"] for i in card["checklists"] if i["answer"]}
    assert answers == {("CLAIM 2024", "7"): "two clinics", ("TRIPOD+AI", "3a"): "none"}
    assert f"For a person to fill in: {OPEN - 2} items" in page
    assert "| two clinics |" in page
    assert (run_folder / ANSWERS).read_text() == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("CLAIM 2024: {45: x}", "no item '45'"),
        ("CLAIM 2020: {1: x}", "did you mean 'CLAIM 2024'"),
        ("CLAIM 2024: x", "expected items and answers"),
        ("- x", "expected items and answers"),
        ("{", "expected YAML"),
    ],
)
def test_answers_to_what_was_not_asked_are_refused(
    text: str, problem: str, run_folder: Path
) -> None:
    (run_folder / ANSWERS).write_text(text)
    with pytest.raises(SettingsError, match=problem):
        write_card(FinishedRun.read(run_folder))


def test_nothing_in_the_card_is_markup(changed: Callable[..., FinishedRun]) -> None:
    def result(facts: dict[str, Any]) -> None:
        facts["model"]["classes"] = [
            "<script>alert(1)</script>",
            "a|b",
            "[x](http://y)",
            "*b*\n# c",
        ]

    text = markdown(model_card(changed(result), {}))
    assert "<script>" not in text
    for escaped in ("&lt;script&gt;", "a\\|b", "\\[x\\](http", "\\*b\\* \\# c"):
        assert escaped in text


def test_every_item_of_both_checklists_is_there_once() -> None:
    assert [item.number for item in CLAIM] == [str(n) for n in range(1, 45)]
    assert {item.part for item in ITEMS} - {None} <= set(PARTS)
    numbers = [item.number for item in TRIPOD_AI]
    assert len(set(numbers)) == len(numbers)
    assert sorted({int("".join(c for c in n if c.isdigit())) for n in numbers}) == list(
        range(1, 28)
    )


def test_groups_come_without_their_support_under_privacy(
    changed: Callable[..., FinishedRun],
) -> None:
    private = changed()
    card = model_card(private, {})
    found = private.result["metrics"]["subgroups"]["age"]
    told = card["subgroups"]["age"]
    assert told["sites"] == found["sites"]
    assert set(told["groups"]) == set(found["groups"])
    assert all(gap["value"] is not None for gap in told["gaps"].values())
    assert not any("None" in name for name in told["gaps"])
    for name, one in told["groups"].items():
        assert one["auroc_macro"]["value"] == found["groups"][name]["auroc_macro"]["value"]
        assert "support" not in str(one)
    assert "subgroups" not in card["performance"]["models"]["pooled over the sites"]

    def plain(facts: dict[str, Any]) -> None:
        for site in facts["sites"]:
            site["privacy"] = None

    open_card = model_card(changed(plain), {})["subgroups"]["age"]["groups"]
    support = {
        n: {c: f["support"] for c, f in g["auroc"].items()} for n, g in found["groups"].items()
    }
    assert {name: one["support"] for name, one in open_card.items()} == support
    none = changed(lambda facts: facts["metrics"].pop("subgroups"))
    assert "not evaluated" in model_card(none, {})["subgroups"]["statement"]
