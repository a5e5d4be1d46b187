"""What privacy costs each group of patients: one run without it and one with it, side by side.

    python -m simulations.benchmarks.fairness output_dir=runs/fairness
    python -m simulations.benchmarks.fairness experiment=ham10000 data.root=HAM10000_FOLDER \
output_dir=runs/fairness-ham10000

Further words are settings as of ``fedrounds simulate``, equal in both runs but for privacy. Every
site counts by all columns of ``evaluation.subgroups``; a data set's own file in ``conf/data`` has
them. Both models are scored on the same patients.

Each cell is a whole run in ``output_dir/NAME-SEED``: one that has ended is read, one that was cut
off goes on. ``fairness.md`` and ``fairness.json`` are the table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.config import Settings
from common.errors import SettingsError
from common.metrics.group_text import BY_CLASS, OVERALL
from common.metrics.text import figure_text
from simulations.benchmarks.timing import cells_folder, machine
from simulations.cells import run_cell
from simulations.report.text import guarantee_text

Subgroups = Mapping[str, Mapping[str, Any]]
"""``subgroups`` of a result's metrics: by column."""


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    console = Console(soft_wrap=True)
    results = {
        name: run_cell(folder / f"{name}-{settings.seed}", settings, console)
        for name, settings in cells(load_settings(overrides)).items()
    }
    facts = {
        "schema": 1,
        "machine": machine(),
        "seed": results["private"]["seed"],
        "seconds": {name: result["seconds"]["total"] for name, result in results.items()},
        "versions": results["private"]["versions"],
        "privacy": [{"site": s["name"], **s["privacy"]} for s in results["private"]["sites"]],
        "subgroups": {name: r["metrics"]["subgroups"] for name, r in results.items()},
    }
    text = table(facts["subgroups"]["plain"], facts["subgroups"]["private"])
    write_json(folder / "fairness.json", facts)
    write_bytes(folder / "fairness.md", text.encode())
    console.print(text, highlight=False, markup=False)
    for privacy in facts["privacy"]:
        guarantee = f"ε = {privacy['epsilon_run']:.3f} ({guarantee_text(privacy)})"
        console.print(f"{privacy['site']}: {guarantee}", highlight=False)


def cells(settings: Settings) -> dict[str, Settings]:
    """The two runs, by name: equal but for privacy.

    Raises:
        SettingsError: where there is no column to count by, or no privacy to compare with.
    """
    columns = tuple(settings.evaluation.subgroups)
    if not columns or not settings.privacy.enabled:
        raise SettingsError(
            "expected evaluation.subgroups and a privacy group that is not none: the run is "
            "compared with the same one without privacy, by those groups"
        )
    private = replace(settings.privacy, subgroups=columns, release_metrics="exact")
    plain = replace(
        private,
        unit="none",
        epsilon=None,
        epsilon_life=None,
        epsilon_max=None,
        noise_multiplier=None,
    )
    return {
        "plain": replace(settings, privacy=plain),
        "private": replace(settings, privacy=private),
    }


def table(plain: Subgroups, private: Subgroups) -> str:
    """Markdown: of each figure a row a group, and one of the gap between the groups."""
    lines = ["| By | Figure | Group | Without privacy | With privacy |", "|---" * 5 + "|"]
    for column in plain:
        both = plain[column], private[column]
        for key, title in OVERALL.items():
            lines += _rows(column, title, both, (key,))
        for key, title in BY_CLASS.items():
            for name in both[0]["gaps"][key]:
                lines += _rows(column, f"{title} of {name}", both, (key, name))
    return "\n".join(lines) + "\n"


def _rows(
    column: str, title: str, both: tuple[Mapping[str, Any], ...], path: tuple[str, ...]
) -> list[str]:
    lines = []
    for group in both[0]["groups"]:
        told = [figure_text(_at(one["groups"][group], path)) for one in both]
        lines.append(f"| {column} | {title} | {group} | {' | '.join(told)} |")
    gaps = [_at(one["gaps"], path) for one in both]
    told = [
        figure_text(gap) + (f": {gap['highest']} above {gap['lowest']}" if gap["highest"] else "")
        for gap in gaps
    ]
    return [*lines, f"| {column} | {title} | **gap** | {' | '.join(told)} |"]


def _at(found: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """The figure that stands there."""
    for name in path:
        found = found[name]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
