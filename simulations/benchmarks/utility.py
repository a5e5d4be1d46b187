"""What joining and our recipe are worth at equal ε: one table, made of whole runs.

    python -m simulations.benchmarks.utility experiment=ham10000 data.root=HAM10000_FOLDER \\
        output_dir=runs/utility-ham10000
    python -m simulations.benchmarks.utility experiment=pneumoniamnist data.root=FOLDER \\
        partition=dirichlet partition.sites=4 epsilons=8,none output_dir=runs/utility-dirichlet

At each ε stand: each site alone and all images pooled, which no hospital could do, both by our
recipe; and the federation, by the plain recipe and by ours (``conf/recipe``). Every model is scored
on all sites' test patients; but where each site keeps a model of its own, as with FedBN, at
its own site, and for that the sites' models alone are scored so as well, as "each at home". ε is
each training patient's, and the same for every cell beside it; at ``none`` there is no privacy, and
our recipe is the one for that. The two for privacy were chosen on the phantom and PneumoniaMNIST,
so that on HAM10000 no ε is spent on choosing; on PneumoniaMNIST what the choice tells is in none.

``epsilons`` are gone through in the order given; ``repeats`` says how many seeds at ε = 8 and
``none`` (3 by default), the others have one. Each cell is a whole run in ``output_dir/
EPSILON-ARM-SEED``: one that has ended is read, one that was cut off goes on. ``utility.md`` and
``utility.json`` are the table of those that there are.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.config import Settings
from common.metrics import figures
from common.metrics.text import figure_text
from server.counts_file import read_counts
from simulations.benchmarks.command import cells_folder, run, take_count, take_word
from simulations.benchmarks.timing import machine
from simulations.cells import run_cell
from simulations.designs.arms import alone, pooled
from simulations.markdown import markdown_table
from simulations.report.text import guarantee_text

NONE = "none"
REPEATED = ("8", NONE)
"""At which ε there are ``repeats`` seeds."""
METRICS = {"auroc_macro": "macro AUROC", "balanced_accuracy": "balanced accuracy"}


def main(words: Sequence[str]) -> None:
    folder, rest = cells_folder(words)
    epsilons, rest = take_word(rest, "epsilons", "8,none,1,3")
    repeats, overrides = take_count(rest, "repeats", 3)
    console = Console(soft_wrap=True)
    found: list[dict[str, Any]] = []

    def run(arm: str, settings: Settings) -> dict[str, Any]:
        name = f"{epsilon}-{arm}-{seed}"
        console.print(f"cell {name}", highlight=False)
        result = run_cell(folder / name, settings, console)
        home = at_home(folder / name, result) if result["local_metrics"] else None
        found.extend(rows(epsilon, arm, result, home))
        write_json(folder / "utility.json", {"schema": 1, "machine": machine(), "rows": found})
        write_bytes(folder / "utility.md", told(found).encode())
        return result

    for epsilon, seed in plan(epsilons.split(","), repeats):
        plain, ours = recipes(epsilon, [*overrides, f"seed={seed}"])
        run("plain", plain)
        sites = len(run("ours", ours)["sites"])
        run("alone", alone(ours))
        run("pooled", pooled(ours, sites))


def plan(epsilons: Sequence[str], repeats: int) -> Iterator[tuple[str, int]]:
    """ε and seed, in the order in which they are run."""
    for epsilon in epsilons:
        for seed in range(repeats if epsilon in REPEATED else 1):
            yield epsilon, seed


def recipes(epsilon: str, overrides: Sequence[str]) -> tuple[Settings, Settings]:
    """The plain recipe's settings and ours, at one ε."""
    ours, budget = "private", f"privacy.epsilon={epsilon}"
    if epsilon == NONE:
        ours, budget = "open", "privacy=none"
    plain_settings = load_settings([*overrides, budget, "recipe=plain"])
    return plain_settings, load_settings([*overrides, budget, f"recipe={ours}"])


def at_home(folder: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of each site's own model on that site's test patients, pooled over the sites."""
    kept = list(read_counts(folder).values())
    counts = reduce(operator.add, (each.counts for each in kept))
    again = reduce(operator.add, (each.replicates for each in kept))
    return figures(counts, tuple(result["model"]["classes"]), again)


def rows(
    epsilon: str, arm: str, result: Mapping[str, Any], home: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A row for each model that the run ends with, and one of all of them at home."""
    local = result["local_metrics"] or {}
    named = {f"{arm}: {site}": metrics for site, metrics in local.items()}
    local_names = tuple(named)
    by_site = {
        site["name"]: site["metrics"]["auroc_macro"]
        for site in result["sites"]
        if site["metrics"] is not None
    }
    if home is not None:
        named[f"{arm}, each at home"] = home
    return [
        {
            "epsilon": epsilon,
            "arm": name,
            "seed": result["seed"],
            **{metric: metrics[metric] for metric in METRICS},
            "at_home": {} if name in local_names or len(by_site) == 1 else by_site,
            "privacy": [s["privacy"] for s in result["sites"] if s["privacy"] is not None],
            "seconds": result["seconds"]["total"],
            "versions": result["versions"],
        }
        for name, metrics in (named or {arm: result["metrics"]}).items()
    ]


def told(found: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the table, that of the sites' own patients, and what each ε means."""
    return f"{table(found)}\n{table_at_home(found)}{guarantees(found)}"


def table_at_home(found: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: macro AUROC at each site's own test patients, of the first seed."""
    first = {(row["epsilon"], row["arm"]): row for row in reversed(found) if row["at_home"]}
    sites = sorted({site for row in first.values() for site in row["at_home"]})
    rows = [
        (epsilon, arm, *(figure_text(row["at_home"].get(site)) for site in sites))
        for (epsilon, arm), row in reversed(first.items())
    ]
    return markdown_table(["ε", "Model", *sites], rows)


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """Markdown: one line an arm, with the first seed's intervals and the spread over seeds."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["epsilon"], row["arm"]), []).append(row)
    heading = ["ε", "Model", *METRICS.values(), "AUROC over seeds", "Seconds"]
    rows = []
    for (epsilon, arm), same in groups.items():
        aurocs = [row["auroc_macro"]["value"] for row in same]
        spread = " ".join(f"{value:.3f}" for value in aurocs)
        if len(aurocs) > 1:
            spread += f"; mean {statistics.mean(aurocs):.3f}"
        words = [
            epsilon,
            arm,
            *(figure_text(same[0][metric]) for metric in METRICS),
            spread,
            f"{statistics.median(row['seconds'] for row in same):.0f}",
        ]
        rows.append(words)
    return markdown_table(heading, rows)


def guarantees(found: Iterable[Mapping[str, Any]]) -> str:
    """What each ε of the table means, and the most that any site's ledger says was spent."""
    spent: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        spent.setdefault(row["epsilon"], []).extend(row["privacy"])
    lines = []
    for epsilon, each in spent.items():
        if each:
            most = max(each, key=lambda privacy: privacy["epsilon_run"])
            lines.append(f"ε={epsilon}: at most {most['epsilon_run']:.3f}, {guarantee_text(most)}")
    return "".join(f"\n{line}\n" for line in lines)


if __name__ == "__main__":
    run(main)
