"""The model card: ``MODEL_CARD.md`` and ``model_card.json``, beside the model.

Laid out along CLAIM 2024 and TRIPOD+AI. What the program cannot know is listed for a person, whose
answers are read from ``card_answers.yaml`` in the run's folder and never written over.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.checkpoint import write_bytes, write_json
from common.errors import SettingsError
from common.metrics.text import figure_text
from common.schema import read_yaml, suggest
from simulations.report import card_parts
from simulations.report.card_privacy import privacy_facts
from simulations.report.card_subgroups import subgroup_facts
from simulations.report.checklists import ITEMS
from simulations.report.run import FinishedRun

ANSWERS = "card_answers.yaml"
INTENDED_USE = "intended use"
NOT_STATED = "not stated: a person has to say what it is for"
PARTS = ("model", "training", "data", "performance", "subgroups", "privacy", "limits")
SPECIAL = re.compile(r"[\\`*_{}\[\]|~#]")

Answers = Mapping[str, Mapping[str, str]]
"""Guideline to item to answer."""


def write_card(run: FinishedRun) -> None:
    """Write both files into the run's folder.

    Raises:
        SettingsError: where a person's answers cannot be used.
    """
    card = model_card(run, read_answers(run.folder / ANSWERS))
    write_json(run.folder / "model_card.json", card)
    write_bytes(run.folder / "MODEL_CARD.md", markdown(card).encode())


def model_card(run: FinishedRun, answers: Answers) -> dict[str, Any]:
    """The card, ready for JSON.

    Args:
        run: the finished run.
        answers: a person's, by guideline and item.
    """
    return {
        "schema": 1,
        "title": f"{run.result['experiment']}: {run.result['model']['name']}",
        "intended_use": answers.get(INTENDED_USE, {}).get("statement", NOT_STATED),
        "not_for": "decisions about patients: it is not a medical device",
        "model": card_parts.model_facts(run),
        "training": card_parts.training_facts(run),
        "data": card_parts.data_facts(run),
        "performance": card_parts.performance_facts(run),
        "subgroups": subgroup_facts(run),
        "privacy": privacy_facts(run),
        "limits": card_parts.limits(run),
        "checklists": [
            {
                "guideline": item.guideline,
                "item": item.number,
                "topic": item.topic,
                "answered_in": item.part,
                "answer": answers.get(item.guideline, {}).get(item.number),
            }
            for item in ITEMS
        ],
    }


def read_answers(path: Path) -> Answers:
    """A person's answers; none where there is no such file.

    Raises:
        SettingsError: naming every guideline or item that does not exist.
    """
    if not path.exists():
        return {}
    values = read_yaml(path, "answers to the model card's open items")
    known = {INTENDED_USE: {"statement"}}
    for item in ITEMS:
        known.setdefault(item.guideline, set()).add(item.number)
    problems = []
    if not isinstance(values, Mapping) or not all(isinstance(v, Mapping) for v in values.values()):
        raise SettingsError(f"{path}: expected items and answers under {', '.join(known)}")
    for guideline, given in values.items():
        if guideline not in known:
            problems.append(f"{path}: no guideline '{guideline}'{suggest(str(guideline), known)}")
            continue
        problems += [
            f"{path}: {guideline} has no item '{number}'{suggest(str(number), known[guideline])}"
            for number in given
            if str(number) not in known[guideline]
        ]
    if problems:
        raise SettingsError(problems)
    return {
        guideline: {str(number): str(answer) for number, answer in given.items()}
        for guideline, given in values.items()
    }


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown; whatever stands in it is text, never markup."""
    lines = [
        f"# Model card: {as_text(card['title'])}",
        "",
        f"**Intended use**: {as_text(card['intended_use'])}",
        "",
        f"**Not for** {as_text(card['not_for'])}.",
    ]
    for part in PARTS:
        lines += ["", f"## {part.capitalize()}", "", *_list(card[part])]
    open_items = [i for i in card["checklists"] if not i["answered_in"] and not i["answer"]]
    lines += [
        "",
        "## Checklists",
        "",
        "| Guideline | Item | Asks for | Answer |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(map(as_text, _row(item)))} |" for item in card["checklists"]]
    lines += [
        "",
        f"## For a person to fill in: {len(open_items)} items",
        "",
        f"Answers go into `{ANSWERS}` beside this file, by guideline and item; then",
        "`fedrounds report RUN` writes the card anew. For instance:",
        "",
        "```yaml",
        f"{INTENDED_USE}: {{statement: what the model is for, for whom, and where}}",
        "CLAIM 2024: {'7': where the images come from}",
        "```",
        "",
        *_list([f"{i['guideline']} {i['item']}: {i['topic']}" for i in open_items]),
    ]
    return "\n".join(lines) + "\n"


def _row(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    where = f"see {item['answered_in'].capitalize()}" if item["answered_in"] else "open"
    answer = "; ".join(filter(None, [item["answer"], where if item["answered_in"] else None]))
    return item["guideline"], item["item"], item["topic"], answer or where


def _list(value: Any, depth: int = 0) -> list[str]:
    """Nested mappings and lists as a nested list."""
    margin = "  " * depth
    entries = value.items() if isinstance(value, Mapping) else ((None, part) for part in value)
    lines = []
    for name, part in entries:
        label = "" if name is None else f"**{_label(name)}**"
        if card_parts.is_figure(part):
            lines.append(f"{margin}- {label}: {as_text(figure_text(part))}")
        elif isinstance(part, Mapping) and name is None:
            lines.append(f"{margin}- {_in_a_line(part)}")
        elif isinstance(part, (Mapping, list)):
            lines += [f"{margin}- {label}", *_list(part, depth + 1)]
        else:
            lines.append(f"{margin}- {label}{': ' if label else ''}{as_text(part)}")
    return lines


def _in_a_line(value: object) -> str:
    if not isinstance(value, Mapping):
        return as_text(value)
    parts = {name: _in_a_line(part) for name, part in value.items()}
    return "; ".join(
        f"{_label(name)}: " + (f"({text})" if isinstance(value[name], Mapping) else text)
        for name, text in parts.items()
    )


def _label(name: str) -> str:
    return as_text(name.replace("_", " "))


def as_text(value: object) -> str:
    """A value as one line of Markdown in which nothing is markup."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    line = " ".join(text.split())
    return SPECIAL.sub(r"\\\g<0>", html.escape(line, quote=False))
