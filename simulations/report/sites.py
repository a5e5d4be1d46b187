"""Who took part, with what, and who was left out of which round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations.report.blocks import Cell, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.text import figure_text

RELEASED = {
    "exact": "“exact” figures are as counted, by the site's own choice, and covered by no ε",
    "noised": "“noised” ones are covered by an ε of the test patients",
    "none": "where “none” are released, the site keeps them",
}


def sites_section(run: FinishedRun) -> Section:
    """The table of sites."""
    unit = run.unit
    counted = [site for site in run.sites if "patients" in site]
    head = ["site", "part in the run", "macro AUROC in test", "figures released"]
    if any(site["personal"] for site in run.sites):
        head.append("macro AUROC of its own model")
    if counted:
        head += [f"{unit}s to train", f"{unit}s in test", "images to train", "images in test"]
        head.append("images left out")
    rows = tuple(
        (
            site["name"],
            part_of(site),
            _score(site),
            site["released"],
            *_personal(site),
            *_counts(site),
        )
        for site in run.sites
    )
    kinds = [text for kind, text in RELEASED.items() if kind in {s["released"] for s in run.sites}]
    about = f"Of the test figures, {'; '.join(kinds)}."
    if counted:
        about += (
            " Patients and images are counted exactly, as only a simulation can; left out are "
            "images that cannot be used and repeats within a patient."
        )
    return Section(
        "sites", "Sites", (Table("The sites of this run", tuple(head), rows), Text(about))
    )


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


def _counts(site: Mapping[str, Any]) -> tuple[Cell, ...]:
    if "patients" not in site:
        return ()
    patients, images = site["patients"], site["images"]
    left_out = site["images_refused"] + site["images_repeated"]
    return (patients["train"], patients["test"], images["train"], images["test"], left_out)


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
