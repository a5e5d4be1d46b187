"""Figures and guarantees as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pooled_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """Pooled figures of a result by what they are of; ``""`` is the run's own model.

    Exact and noised counts are never added: where sites released both, those are the exact ones'.
    """
    if not result["metrics"]:
        return {
            f"model of {name}, scored on every site": m
            for name, m in (result["local_metrics"] or {}).items()
        }
    found = {"": result["metrics"]}
    if result["personal_metrics"]:
        found["model of each site, scored at that site"] = result["personal_metrics"]
    if result["noised_metrics"] not in (None, result["metrics"]):
        names = ", ".join(_released(result)["noised"])
        found[f"sites with noised counts: {names}"] = result["noised_metrics"]
    return found


def pool_text(result: Mapping[str, Any]) -> str:
    """Whose test patients the figures of the run's own model are of."""
    by_kind = _released(result)
    kind = "exact" if "exact" in by_kind else "noised"
    if set(by_kind) <= {kind}:
        return "pooled over the sites"
    left = [f"{', '.join(names)} ({k})" for k, names in by_kind.items() if k != kind]
    return f"pooled over {', '.join(by_kind[kind])} ({kind}), without {' and '.join(left)}"


def _released(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """How test figures were released to the sites that did so."""
    found: dict[str, list[str]] = {}
    for site in result["sites"]:
        found.setdefault(site["released"], []).append(site["name"])
    return found


def of_model(name: str) -> str:
    """How a caption names what figures are of; a run's own model has no name."""
    return f", {name}" if name else ""


def guarantee_text(privacy: Mapping[str, Any]) -> str:
    """What an ε means nothing without: δ, unit, adjacency, accountant, and what it composes."""
    text = (
        f"δ={privacy['delta']:g}, unit {privacy['unit']}, {privacy['adjacency']}, "
        f"{privacy['accountant']}"
    )
    if privacy["composition"] == "across plans":
        text += f" across plans ({privacy['epsilon_rdp']:.3f} by RDP)"
    if privacy["assumed_epsilon"]:
        text += f", of it {privacy['assumed_epsilon']:g} assumed at a recovery"
    return text
