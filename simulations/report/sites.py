"""Who took part, with what, and who was left out of which round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.metrics.text import figure_text
from simulations.report.blocks import Block, Cell, Section, Table, Text
from simulations.report.run import FinishedRun

RELEASED = {
    "exact": "“exact” figures are as counted, by the site's own choice, and covered by no ε",
    "noised": "“noised” ones are covered by an ε of the test patients",
    "none": "where “none” are released, the site keeps them",
}


def sites_section(run: FinishedRun) -> Section:
    """Who took part and how the model does there; in a simulation, what each site holds."""
    head = ["site", "part in the run", "macro AUROC in test", "figures released"]
    if any(site["personal"] for site in run.sites):
        head.append("macro AUROC of its own model")
    rows = tuple(
        (site["name"], part_of(site), _score(site), site["released"], *_personal(site))
        for site in run.sites
    )
    kinds = [text for kind, text in RELEASED.items() if kind in {s["released"] for s in run.sites}]
    blocks: list[Block] = [
        Table("The sites of this run", tuple(head), rows),
        Text(f"Of the test figures, {'; '.join(kinds)}."),
    ]
    if run.simulated:
        blocks.append(_holdings(run))
    return Section("sites", "Sites", tuple(blocks))


def _holdings(run: FinishedRun) -> Table:
    """Patients and images of each site."""
    parts = ("train", "validation", "test")
    head = [f"{run.unit}s: {part}" for part in parts] + [f"images: {part}" for part in parts]
    rows = tuple(
        (
            site["name"],
            *(site["patients"][part] for part in parts),
            *(site["images"][part] for part in parts),
            site["images_refused"],
            site["images_repeated"],
        )
        for site in run.sites
    )
    caption = "What each site holds, counted exactly, as only a simulation can"
    return Table(caption, ("site", *head, "refused", "repeated"), rows)


def part_of(site: Mapping[str, Any]) -> str:
    """What a site did in the run."""
    since = site["evaluate_only"]
    if not since:
        return "trained"
    if since["from_round"] <= 1:
        return f"evaluated only ({since['reason']})"
    return f"trained until round {since['from_round'] - 1}, then evaluated ({since['reason']})"


def _score(site: Mapping[str, Any]) -> str:
    return figure_text(site["metrics"]["auroc_macro"]) if site["metrics"] else "none"


def _personal(site: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (_score(site["personal"]),) if site["personal"] else ()


def absences_section(run: FinishedRun) -> Section:
    """Who was left out of which round, and why."""
    rows: list[tuple[Cell, ...]] = []
    only: dict[str, str] = {}
    for line in run.rounds:
        number = int(line["round"])
        for site, why in line["evaluate_only"].items():
            if site not in only:
                rows.append((number, site, f"evaluates only from here on: {why}"))
            only[site] = why
        rows += [(number, site, str(why)) for site, why in line["refused"].items()]
        dropped = (what.partition(": ") for what in line["dropped"])
        rows += [(number, who, f"answer dropped: {what}") for who, _, what in dropped]
        if not line["applied"]:
            rows.append((number, "all", "too few answers: the round was not applied"))
    title = "Who was left out"
    if not rows:
        text = f"Nobody: every site's answer is in each of the {len(run.rounds)} rounds."
        return Section("absences", title, (Text(text),))
    return Section(
        "absences",
        title,
        (Table("Rounds that lacked a site, and why", ("round", "site", "reason"), tuple(rows)),),
    )
