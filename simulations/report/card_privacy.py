"""The model card's part on privacy: guarantees, what test figures cost, and audits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from simulations.report.card_parts import Facts
from simulations.report.run import FinishedRun

CLAIM = ("noise_multiplier", "sample_rate", "steps", "delta", "epsilon_prv", "epsilon_rdp")
GUARANTEE = (
    "epsilon_run", "epsilon", "delta", "unit", "adjacency", "accountant", "composition",
    "assumed_epsilon", "noise_multiplier", "sample_rate", "steps", "max_grad_norm", "source",
)  # fmt: skip


def privacy_facts(run: FinishedRun) -> Facts:
    """What each site guarantees its patients, and what audits found."""
    if not run.private_sites:
        return {"statement": "no differential privacy: nothing bounds what the model reveals"}
    largest = max(run.private_sites, key=lambda site: float(site["privacy"]["epsilon_run"]))
    spent = largest["privacy"]
    return {
        "statement": f"ε ≤ {spent['epsilon_run']:.3f} at δ = {spent['delta']:g} for each "
        f"{spent['unit']} at its site, for training ({spent['adjacency']}, {spent['accountant']})",
        "sites": [
            {"name": site["name"], **{name: site["privacy"][name] for name in GUARANTEE}}
            for site in run.private_sites
        ],
        "test figures": _releases(run),
        "audits": [_audit(run, audit) for audit in run.audits]
        or "none: no audit of these constants lies in the run's folder",
    }


def _releases(run: FinishedRun) -> Facts | str:
    """What the figures on test patients cost those patients; a text where all sites are alike."""
    told = {site["name"]: _release(site) for site in run.sites}
    alike = set(told.values())
    return told if len(alike) > 1 else alike.pop()


def _release(site: Mapping[str, Any]) -> str:
    if r := site["test_privacy"]:
        return (
            f"ε = {r['epsilon']:.3f} at δ = {r['delta']:g} for each test {r['unit']} "
            f"({r['adjacency']}, {r['accountant']})"
        )
    if site["released"] == "none":
        return "none released"
    return "exact, by the site's own choice: no ε covers them"


def _audit(run: FinishedRun, audit: Mapping[str, Any]) -> Facts:
    """An audit's verdict, and the sites whose constants it attacked."""
    claim = audit["claim"]
    alike = [
        site["name"]
        for site in run.private_sites
        if (p := site["privacy"])["steps"] == claim["steps"]
        and all(
            math.isclose(p[name], claim[name], rel_tol=1e-4)
            for name in ("noise_multiplier", "sample_rate", "delta")
        )
    ]
    return {
        "verdict": audit["verdict"],
        "claim": {name: claim[name] for name in CLAIM},
        "of the constants of": ", ".join(alike) or "no site of this run",
        "meaning": "an audit can refute a claim, and never confirm it",
    }
