"""Every model of a design on every site's test patients, and the differences that matter.

All models are scored on the same patients, on the same bootstrap draws (``Site.draw``), so a
difference is paired by patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from client.cohort import Cohort
from client.evaluation import evaluate
from client.site import Site
from common.config import Settings
from common.metrics import Counts
from common.metrics.figure import Figure
from common.metrics.figures import Reading
from common.metrics.paired import difference
from common.model_file import read_model_file
from simulations.designs.arms import ALONE, FEDERATION, POOLED, without_name

METRIC = "auroc_macro"
ALL_SITES = "all sites"
"""The test patients of every site together."""


@dataclass(frozen=True)
class Score:
    """What one model did on some test patients; addable over sites.

    Attributes:
        counts: of the images.
        replicates: of the same, with an axis (B,) first.
    """

    counts: Counts
    replicates: Counts

    def __add__(self, other: Score) -> Score:
        return Score(self.counts + other.counts, self.replicates + other.replicates)

    def read(self, classes: tuple[str, ...]) -> Reading:
        return Reading(self.counts, classes, self.replicates, None)


def compare(arms: Path, results: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Score all models, and pair those that a design sets against each other.

    Args:
        arms: the folder of the runs.
        results: each run's ``result.json``, by the name of its folder.
        settings: the design's.

    Returns:
        Ready for JSON: ``tests`` (sites, then all of them), ``matrix`` (model to test to figure),
        ``differences`` (test, model, baseline and the paired difference), and ``external``: what
        the model that never saw a site did on all of that site's patients.
    """
    main = results[FEDERATION]
    classes = tuple(main["model"]["classes"])
    sites = [str(site["name"]) for site in main["sites"]]
    scored = {
        name: _score_everywhere(path, arms / FEDERATION / "sites", sites, settings)
        for name, path in model_files(arms, sites, settings.design).items()
    }
    return {
        "design": settings.design,
        "metric": METRIC,
        "unit": main["simulation"]["unit"],
        "tests": [*sites, ALL_SITES],
        "matrix": {
            name: {test: macro_auroc(score.read(classes)) for test, score in by_test.items()}
            for name, by_test in scored.items()
        },
        "differences": [
            {
                "test": test,
                "model": model,
                "baseline": baseline,
                "difference": difference(
                    scored[model][test].read(classes),
                    scored[baseline][test].read(classes),
                    METRIC,
                ),
            }
            for test, model, baseline in pairs(sites, settings.design)
            if test in scored[model]
        ],
        "external": {
            site: _external(results[without_name(site)], site)
            for site in sites
            if without_name(site) in results
        },
    }


def model_files(arms: Path, sites: Sequence[str], design: str) -> dict[str, Path]:
    """Name of each model to the JSON file that describes it."""
    files = {FEDERATION: arms / FEDERATION / "model.json"}
    for site in sites:
        several = arms / ALONE / f"model-{site}.json"
        files[alone_name(site)] = several if several.exists() else arms / ALONE / "model.json"
    leaves_out = design == "leave_one_site_out"
    others = [without_name(site) for site in sites] if leaves_out else [POOLED]
    return files | {name: arms / name / "model.json" for name in others}


def pairs(sites: Sequence[str], design: str) -> list[tuple[str, str, str]]:
    """Test, model and baseline of each difference that a design is about."""
    gains = [(site, FEDERATION, alone_name(site)) for site in sites]
    if design == "leave_one_site_out":
        joins = [(site, FEDERATION, without_name(site)) for site in sites]
        takes = [(site, without_name(site), alone_name(site)) for site in sites]
        return gains + joins + takes
    return [*gains, (ALL_SITES, FEDERATION, POOLED)]


def alone_name(site: str) -> str:
    """The model that ``site`` trained by itself."""
    return f"{site} {ALONE}"


def macro_auroc(read: Reading) -> Figure:
    return read.macro(METRIC, read.support.scored)


def _score_everywhere(
    model: Path, folders: Path, sites: Sequence[str], settings: Settings
) -> dict[str, Score]:
    """One model at each site that has test patients, and on all of them."""
    file, module = read_model_file(model)
    experiment = replace(file.as_experiment(), evaluation=settings.evaluation)
    scores = {}
    for name in sites:
        site = Site.open(folders / name)
        release = evaluate(
            module, Cohort.load(site, experiment, "test"), experiment, draw=site.draw("test")
        )
        if release is not None and release.replicates is not None:
            again = release.replicates.expand(release.counts)
            scores[name] = Score(release.counts, again)
    first, *others = scores.values()
    return scores | {ALL_SITES: sum(others, start=first)}


def _external(result: Mapping[str, Any], site: str) -> Figure | None:
    """What a run's model did on all patients of the site that it held out."""
    metrics = next(s["metrics"] for s in result["sites"] if s["name"] == site)
    found: Figure | None = None if metrics is None else metrics[METRIC]
    return found
