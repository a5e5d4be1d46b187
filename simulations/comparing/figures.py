"""What a comparison finds: differences by patient, and apart from them the spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from common.metrics.paired import difference
from common.metrics.text import OVERALL
from simulations.comparing.runs import ComparedRun, differing_settings, methods_of

SCHEMA = 1


def compare(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Compare runs over the same test patients; the first one's method is the baseline.

    A patient interval says how a difference would move with other patients, the models being what
    they are. A spread says how figures move with the seed, the patients being what they are.
    Neither holds the other, so they are never mixed.

    Returns:
        Ready for JSON: ``methods`` (their runs, the settings that set them apart, and the spread
        of each figure over their runs) and ``differences`` (method minus baseline for each pair
        of runs, and the spread of these).
    """
    baseline, *others = methods = methods_of(runs)
    return {
        "schema": SCHEMA,
        "unit": runs[0].run.unit,
        "classes": list(runs[0].classes),
        "sites": sorted(runs[0].sites),
        "methods": [
            {
                "runs": [run.name for run in method],
                "seeds": [run.seed for run in method],
                "settings": settings,
                "spread": _spreads([_pooled_values(run) for run in method]),
            }
            for method, settings in zip(methods, differing_settings(methods), strict=True)
        ],
        "differences": [_against(method, baseline) for method in others],
    }


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, standard deviation (of a sample) and ends of some figures."""
    return {
        "runs": len(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
    }


def pairs_of(
    method: Sequence[ComparedRun], baseline: Sequence[ComparedRun]
) -> list[tuple[ComparedRun, ComparedRun]]:
    """Runs of equal seeds, each taken once; where there is one of each, these two."""
    left, found = list(baseline), []
    for run in method:
        same = next((other for other in left if other.seed == run.seed), None)
        if same is not None:
            left.remove(same)
            found.append((run, same))
    return found or [(method[0], baseline[0])]


def _against(method: Sequence[ComparedRun], baseline: Sequence[ComparedRun]) -> dict[str, Any]:
    pairs = [_pair(*pair) for pair in pairs_of(method, baseline)]
    return {
        "method": method[0].name,
        "baseline": baseline[0].name,
        "pairs": pairs,
        "spread": _spreads([{n: f["value"] for n, f in p["pooled"].items()} for p in pairs]),
    }


def _pair(run: ComparedRun, other: ComparedRun) -> dict[str, Any]:
    """One run minus another on the same draws of patients."""
    here, there = run.read_pooled(), other.read_pooled()
    return {
        "run": run.name,
        "baseline": other.name,
        "seeds": [run.seed, other.seed],
        "pooled": {name: difference(here, there, name) for name in OVERALL},
        "auroc": {c: difference(here, there, "auroc", k) for k, c in enumerate(run.classes)},
        "sites": {
            site: difference(run.read_site(site), other.read_site(site), "auroc_macro")
            for site in sorted(run.sites)
        },
    }


def _pooled_values(run: ComparedRun) -> dict[str, float | None]:
    read = run.read_pooled()
    return {name: read.overall(name)["value"] for name in OVERALL}


def _spreads(each: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """The spread of each figure over runs that all have it."""
    columns = {name: [one[name] for one in each] for name in OVERALL}
    return {
        name: spread([v for v in values if v is not None])
        for name, values in columns.items()
        if None not in values
    }
