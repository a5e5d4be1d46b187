"""Figures and guarantees as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pooled_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """Pooled figures of a result by whose model they are of; ``""`` is the run's own."""
    if not result["metrics"]:
        return {
            f"{name}, scored on every site": m
            for name, m in (result["local_metrics"] or {}).items()
        }
    beside = result["personal_metrics"]
    return {"": result["metrics"], **({"each site, scored at that site": beside} if beside else {})}


def of_model(name: str) -> str:
    """How a caption names a model; a run's only one has no name."""
    return f", model of {name}" if name else ""


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
