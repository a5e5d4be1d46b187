"""What privacy costs each group of patients: one run without it and one with it, side by side.

    python -m simulations.benchmarks.fairness output_dir=runs/fairness
    python -m simulations.benchmarks.fairness experiment=ham10000 data.root=HAM10000_FOLDER \
output_dir=runs/fairness-ham10000

Further words are settings as of ``fedrounds simulate``, equal in both runs but for privacy. Every
site counts by all columns of ``evaluation.subgroups``; a data set's own file in ``conf/data`` has
them. Both models are scored on the same patients and draws, so that what privacy costs a group is
paired by patient.

Each cell is a whole run in ``output_dir/NAME-SEED``: one that has ended is read, one that was cut
off goes on. ``fairness.md`` and ``fairness.json`` are the table.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from client.cohort import Cohort
from client.evaluation import evaluate
from client.site import Site
from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.config import Settings
from common.errors import SettingsError
from common.metrics.figures import Reading
from common.metrics.group_text import BY_CLASS, OVERALL
from common.metrics.paired import difference
from common.metrics.text import figure_text
from common.model_file import read_model_file
from common.subgroups import SiteGroups
from server.evaluation import pool_groups
from simulations.benchmarks.command import cells_folder, run
from simulations.benchmarks.timing import machine
from simulations.cells import run_cell
from simulations.markdown import markdown_table
from simulations.report.text import guarantee_text

Subgroups = Mapping[str, Mapping[str, Any]]
"""``subgroups`` of a result's metrics: by column."""


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    console = Console(soft_wrap=True)
    runs = cells(load_settings(overrides))
    folders = {name: folder / f"{name}-{settings.seed}" for name, settings in runs.items()}
    results = {name: run_cell(folders[name], run, console) for name, run in runs.items()}
    read = {name: read_groups(folders[name], run) for name, run in runs.items()}
    facts = {
        "schema": 1,
        "machine": machine(),
        "seed": results["private"]["seed"],
        "seconds": {name: result["seconds"]["total"] for name, result in results.items()},
        "versions": results["private"]["versions"],
        "privacy": [
            {"site": s["name"], **s["privacy"]}
            for s in results["private"]["sites"]
            if s["privacy"] is not None
        ],
        "subgroups": {name: r["metrics"]["subgroups"] for name, r in results.items()},
        "cost": {
            column: {g: cost(private, read["plain"][column][g]) for g, private in groups.items()}
            for column, groups in read["private"].items()
        },
    }
    text = table(facts["subgroups"]["plain"], facts["subgroups"]["private"], facts["cost"])
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


def read_groups(folder: Path, settings: Settings) -> dict[str, dict[str, Reading]]:
    """Each group of each column, on test patients of all sites, as a run's model scores them."""
    file, model = read_model_file(folder)
    experiment = replace(file.as_experiment(), evaluation=settings.evaluation)
    privacy, counts, told = settings.privacy, {}, {}
    for path in sorted((folder / "sites").iterdir()):
        site = Site.open(path)
        cohort = Cohort.load(site, experiment, "test")
        release = evaluate(
            model,
            cohort,
            experiment,
            privacy.min_count,
            draw=site.draw("test"),
            columns=sorted(cohort.groups),
        )
        shutil.rmtree(path / "cache", ignore_errors=True)
        if release is not None:
            counts[site.name] = release.counts
            told[site.name] = SiteGroups(groups=release.packed_groups())
    return {
        column: {
            name: Reading(draws.take(0), experiment.classes, draws.take(slice(1, None)), None)
            for name, draws in pool_groups(counts, told, column, experiment)
            if draws.labels[0]
        }
        for column in privacy.subgroups
    }


def cost(private: Reading, plain: Reading) -> dict[str, Any]:
    """What a group's figures change by under privacy, on the same patients."""
    return {
        **{key: difference(private, plain, key) for key in OVERALL},
        **{
            key: {c: difference(private, plain, key, k) for k, c in enumerate(plain.classes)}
            for key in BY_CLASS
        },
    }


def table(plain: Subgroups, private: Subgroups, costs: Subgroups) -> str:
    """Markdown: of each figure a row a group, and one of the gap between the groups."""
    heading = ["By", "Figure", "Group", "Without privacy", "With privacy", "Difference, paired"]
    lines: list[tuple[str, ...]] = []
    for column, found in plain.items():
        one = found, private[column], costs[column]
        for key, title in OVERALL.items():
            lines += _rows((column, title), *one, (key,))
        for key, title in BY_CLASS.items():
            for name in found["gaps"][key]:
                lines += _rows((column, f"{title} of {name}"), *one, (key, name))
    return markdown_table(heading, lines)


def _rows(
    head: tuple[str, str],
    plain: Mapping[str, Any],
    private: Mapping[str, Any],
    costs: Mapping[str, Any],
    path: tuple[str, ...],
) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for group, change in costs.items():
        parts = plain["groups"][group], private["groups"][group], change
        told = [figure_text(_at(part, path)) for part in parts]
        lines.append((*head, group, *told))
    gaps = [_at(one["gaps"], path) for one in (plain, private)]
    told = [
        figure_text(gap) + (f": {gap['highest']} above {gap['lowest']}" if gap["highest"] else "")
        for gap in gaps
    ]
    return [*lines, (*head, "**gap**", *told, "")]


def _at(found: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """The figure that stands there."""
    for name in path:
        found = found[name]
    return found


if __name__ == "__main__":
    run(main)
