"""From a run's own records to named numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from common.config import Experiment
from common.schema import to_plain


def round_values(line: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a round's line: ``validation/pooled/auroc_macro``, ``bytes/up``, …"""
    counts = {"answered": len(line["answered"]), "left_out": len(line["refused"])}
    rest = {key: value for key, value in line.items() if key not in (*counts, "round")}
    return dict(_numbers({**rest, **counts}))


def result_values(result: Mapping[str, Any]) -> dict[str, float]:
    """The values of a result, without their intervals: ``test/auroc/nodule``, …"""
    sites = {
        site["name"]: {"test": site["metrics"], "privacy": site["privacy"]}
        for site in result["sites"]
    }
    named = {"test": result["metrics"], "local": result["local_metrics"], "sites": sites}
    return dict(_numbers(named))


def parameters(experiment: Experiment) -> dict[str, str]:
    """The shared experiment, a text a setting: ``privacy.epsilon``, …"""
    return dict(_texts(to_plain(experiment)))


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by their path; a figure with an interval is its value, and lists are passed over."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if "value" in value and "support" in value:
                yield from _numbers({key: value["value"]}, prefix)
            else:
                yield from _numbers(value, f"{name}/")
        elif isinstance(value, (bool, int, float)) and math.isfinite(value):
            yield name, float(value)


def _texts(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
