"""What training cost each site's patients: the guarantee, ε round by round, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.privacy.accounting import Segment, epsilon
from simulations.forecast import computed_rounds
from simulations.report.blocks import Block, Plot, Section, Table, Text
from simulations.report.run import FinishedRun
from simulations.report.spending import spending_inline
from simulations.report.text import guarantee_text

MOST_POINTS = 6
MOST_IN_ALL = 24
"""An ε takes its accountant a tenth of a second: few are enough to see how it grows."""


def privacy_section(run: FinishedRun) -> Section:
    """The table and the plot, or that nothing bounds what the model says about a patient."""
    sites = run.private_sites
    if not sites:
        text = (
            "This run had no differential privacy: nothing bounds what the model reveals about "
            f"one {run.unit} whose images it was trained on."
        )
        return Section("privacy", "Privacy", (Text(text),))
    about = (
        f"ε bounds what anybody could learn, from all that a site sent to train the model, about "
        f"whether one {run.unit}'s images were used. Smaller is stronger. A site's whole plan "
        "counts as spent when it is begun."
    )
    blocks: list[Block] = [Text(about), _guarantees(run, sites), _left(sites)]
    curves = spent_by_round(run)
    if curves:
        blocks.append(_plot(run, curves))
    blocks += [Text(text) for text in _test_releases(run)]
    return Section("privacy", "Privacy", tuple(blocks))


def spent_by_round(run: FinishedRun) -> dict[str, list[tuple[int, float]]]:
    """ε of this run after some of its rounds, a site, by the constants that its ledger states."""
    sites = [site for site in run.private_sites if site["privacy"]["steps"] > 0]
    plans = {(p["sample_rate"], p["noise_multiplier"]) for p in (s["privacy"] for s in sites)}
    most = max(2, min(MOST_POINTS, MOST_IN_ALL // max(1, len(plans))))
    return {site["name"]: _curve(run, site["privacy"], most) for site in sites}


def _curve(run: FinishedRun, privacy: Mapping[str, Any], most: int) -> list[tuple[int, float]]:
    steps = run.experiment.round_steps
    rounds = privacy["steps"] // steps
    some = computed_rounds(rounds)
    spaced = sorted({some[round(k * (len(some) - 1) / (most - 1))] for k in range(most)})
    asked = run.settings.privacy.accountant
    points = []
    for number in spaced[:-1]:
        taken = Segment(privacy["sample_rate"], privacy["noise_multiplier"], number * steps)
        points.append((number, epsilon([taken], privacy["delta"], asked).epsilon))
    return [*points, (rounds, float(privacy["epsilon_run"]))]


def _plot(run: FinishedRun, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Plot:
    title = "ε of this run against rounds"
    description = f"A rising line for each of {len(curves)} sites; the cap, if any, is dashed."
    guarantees = sorted({guarantee_text(site["privacy"]) for site in run.private_sites})
    svg = spending_inline(
        curves, run.settings.privacy.epsilon_max, "; ".join(guarantees), title, description
    )
    rows = tuple(
        (site, number, f"{spent:.3f}") for site, curve in curves.items() for number, spent in curve
    )
    caption = f"{title}; {'; '.join(guarantees)}"
    return Plot(
        "spending", title, description, svg, Table(caption, ("site", "after round", "ε"), rows)
    )


def _guarantees(run: FinishedRun, sites: Sequence[Mapping[str, Any]]) -> Table:
    """A row a site. What every ε is about stands in the caption where it is the same for all."""
    about = [guarantee_text(site["privacy"]) for site in sites]
    alike = len(set(about)) == 1
    rows = tuple(
        (
            site["name"],
            f"{p['epsilon_run']:.3f}",
            f"{p['epsilon']:.3f}",
            f"{p['noise_multiplier']:g}",
            f"{p['sample_rate']:.4f}",
            p["steps"],
            f"{p['max_grad_norm']:g}",
            *([] if alike else [guarantee]),
        )
        for site, guarantee in zip(sites, about, strict=True)
        if (p := site["privacy"])
    )
    head = ["site", "ε, this run", "ε, ledger's life", "noise σ", "sampling q", "steps", "clip C"]
    caption = f"What each site guarantees each {run.unit}"
    if alike:
        return Table(f"{caption}: {about[0]}", tuple(head), rows)
    return Table(caption, (*head, "what ε is about"), rows)


def _left(sites: Sequence[Mapping[str, Any]]) -> Table | Text:
    """What each site's cap still allows.

    The ledger's own count of plans that may have been chosen on results is never below the ε
    reported, so that the difference is the most that can be left.
    """
    caps = {site["name"]: site["privacy"]["epsilon_max"] for site in sites}
    if not any(caps.values()):
        return Text("No site has a cap on ε over its life, so nothing limits further runs.")
    rows = tuple(
        (
            site["name"],
            f"{caps[site['name']]:g}" if caps[site["name"]] else "none",
            f"{max(0.0, caps[site['name']] - site['privacy']['epsilon']):.3f}"
            if caps[site["name"]]
            else "no limit",
        )
        for site in sites
    )
    caption = "What is left: the site's own ledger says exactly (fedrounds ledger show)"
    return Table(caption, ("site", "cap on ε", "left, at most"), rows)


def _test_releases(run: FinishedRun) -> list[str]:
    """What noised figures have cost the test patients, whose ε is their own."""
    return [
        f"{site['name']}: its noised test figures cost each test {r['unit']} ε = "
        f"{r['epsilon']:.3f} at δ = {r['delta']:g} ({r['adjacency']}, {r['accountant']}; "
        f"{r['releases']} releases)."
        for site in run.sites
        if (r := site["test_privacy"])
    ]
