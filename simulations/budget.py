"""``fedrounds budget``: σ, steps and ε of a run, before anybody trains."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from common.checkpoint import write_bytes
from common.compose import load_settings
from common.config import Settings
from common.privacy.accounting import ADJACENCY
from simulations.forecast import (
    EVERY_ROUND,
    SOME_ROUNDS,
    Point,
    SiteForecast,
    forecast,
    marked_rounds,
)
from simulations.output import output_folder
from simulations.report.spending import spending_file
from simulations.run import make_console

HELP = f"""\
usage: fedrounds budget [--json] [KEY=VALUE …]

Say what a run would cost each site's patients, from public sizes alone: no data is read. The
settings are those of fedrounds simulate; data.root is not needed. For each site: q, σ, the steps
of a round, ε after rounds, and the round at which a cap would be passed. A ledger that already
holds training is not counted: fedrounds ledger shows it.

  privacy.public_patients={{a:500,b:300}}   each site's public count; one number for a single size
  privacy.epsilon=8                       the target that σ is planned for, over all rounds
  privacy.noise_multiplier=1.1            or σ itself (with privacy.epsilon=null)
  privacy.epsilon_max=10                  the cap of each site's policy
  privacy.delta rounds local_steps strategy.batch_size privacy.sample_rate privacy.accountant
  output_dir                              runs/DATE_budget unless given
  --json                                  print everything on standard output, and nothing else

Writes budget.csv and budget.svg into output_dir: ε after every round; of more than {EVERY_ROUND}
rounds, after some {SOME_ROUNDS}, evenly spaced. The round that passes a cap is exact either way.

exit codes: 0 done, 2 wrong settings or an impossible plan
"""


def help_text() -> str:
    return HELP


def main(arguments: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    words = [word for word in arguments if word != "--json"]
    as_json = len(words) < len(arguments)
    settings = _settings(words)
    folder = output_folder(settings.output_dir, "budget")
    sites = forecast(settings)
    guarantee = _guarantee(sites)
    cap = settings.privacy.epsilon_max
    curves = {s.name: [(p.server_round, p.spent.epsilon) for p in s.points] for s in sites}
    write_bytes(folder / "budget.csv", budget_csv(sites).encode())
    write_bytes(folder / "budget.svg", spending_file(curves, cap, guarantee).encode())
    console = make_console(as_json)
    console.print(_table(settings, sites))
    console.print(guarantee, highlight=False)
    console.print(f"written: {folder / 'budget.csv'}, {folder / 'budget.svg'}", highlight=False)
    if as_json:
        print(json.dumps(_facts(settings, sites, folder), indent=1, allow_nan=False))
    return 0


def budget_csv(sites: Sequence[SiteForecast]) -> str:
    """A line for each site and computed round."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["site", "round", "steps", "epsilon", "delta", "accountant", "unit", "adjacency"]
    )
    for site in sites:
        for p in site.points:
            cost = [f"{p.spent.epsilon:.6f}", f"{site.delta:g}", p.spent.accountant]
            writer.writerow([site.name, p.server_round, p.steps, *cost, site.unit, ADJACENCY])
    return stream.getvalue()


def _settings(words: Sequence[str]) -> Settings:
    """The settings of a simulation, for which no folder of images need exist."""
    if not any(word.partition("=")[0] == "data.root" for word in words):
        # A table's settings ask for its folder. A plan never opens it, so that any path will do:
        # this one stands for "there is none yet".
        words = [*words, "data.root=."]
    return load_settings(words)


def _guarantee(sites: Sequence[SiteForecast]) -> str:
    """What every ε of the forecast is about, in one line."""
    names = sorted({p.spent.accountant for site in sites for p in site.points})
    return (
        f"ε at δ = {sites[0].delta:g}, for each {sites[0].unit} at its site; {ADJACENCY}; "
        f"accountant {' and '.join(names)}; a ledger that holds nothing yet"
    )


def _table(settings: Settings, sites: Sequence[SiteForecast]) -> Table:
    marked = marked_rounds(settings.rounds)
    steps = f"steps ({sites[0].steps_per_round} a round)"
    total, cap = f"ε after all {settings.rounds}", settings.privacy.epsilon_max
    ends = "no cap" if cap is None else f"passes ε = {cap:g}"
    table = Table(title=f"budget of {settings.experiment}: {settings.rounds} rounds")
    table.add_column("site")
    some = [f"ε after {n}" for n in marked[:-1]]
    public = f"public {sites[0].unit}s"
    for heading in (public, "q", "σ", steps, *some, total, "accountant", ends):
        table.add_column(heading, justify="right")
    for s in sites:
        table.add_row(
            s.name,
            str(s.public_patients),
            f"{s.sample_rate:.4f}",
            f"{s.noise_multiplier:.2f}",
            str(s.last.steps),
            *(f"{s.at(n).spent.epsilon:.3f}" for n in marked),
            s.last.spent.accountant,
            "never" if s.runs_out is None else f"in round {s.runs_out}",
        )
    return table


def _facts(settings: Settings, sites: Sequence[SiteForecast], folder: Path) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "schema": 1,
        "experiment": settings.experiment,
        "rounds": settings.rounds,
        "steps_per_round": sites[0].steps_per_round,
        "epsilon_target": settings.privacy.epsilon,
        "epsilon_max": settings.privacy.epsilon_max,
        "delta": sites[0].delta,
        "unit": sites[0].unit,
        "adjacency": ADJACENCY,
        "sites": [
            {
                "name": s.name,
                "public_patients": s.public_patients,
                "sample_rate": s.sample_rate,
                "noise_multiplier": s.noise_multiplier,
                "max_grad_norm": s.max_grad_norm,
                **_point(s.last),
                "runs_out_at_round": s.runs_out,
                "rounds": [{"round": p.server_round, **_point(p)} for p in s.points],
            }
            for s in sites
        ],
        "files": {name: str(folder / f"budget.{name}") for name in ("csv", "svg")},
    }


def _point(point: Point) -> dict[str, Any]:
    spent = point.spent
    return {"steps": point.steps, "epsilon": spent.epsilon, "accountant": spent.accountant}
