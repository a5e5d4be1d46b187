"""From an outcome to ``result.json`` and the model's files."""

from __future__ import annotations

import operator
import platform
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib.metadata import version
from typing import Any

from common.checkpoint import write_json
from common.errors import IncompleteRunError
from common.histograms import histogram_figures
from common.metrics import OperatingPoint, figures
from common.metrics.curves import roc_curves
from common.metrics.gaps import column_figures
from common.model_file import write_model_file
from common.parameters import count_parameters
from common.schema import to_plain
from server.counts_file import write_counts
from server.evaluation import pool, pool_groups, pool_replicates
from server.job import Job, Outcome
from server.strategies import PERSONAL, SHARED

SCHEMA = 1
NOTHING_RELEASED: dict[str, Any] = {"metrics": None, "released": "none"}


def build_result(
    job: Job, outcome: Outcome, site_facts: Mapping[str, Mapping[str, Any]], total_seconds: float
) -> dict[str, Any]:
    """Everything that is known of a finished run, ready for JSON.

    Args:
        job: the run.
        outcome: what it left behind.
        site_facts: more on each site by name, such as the counts that only a simulation knows.
        total_seconds: wall time of the whole command, over all the run's starts.
    """
    experiment = job.experiment
    first = next(iter(outcome.models.values()))
    found = {name: _metrics(job, outcome, name) for name in outcome.scored}
    # The run's own figures are the shared model's, or where there is none, those of each site's
    # own model at its site; under ``local``, whose models are scored everywhere, there are none.
    main = found.get(SHARED) or found.get(PERSONAL)
    personal = found.get(PERSONAL) if SHARED in found else None
    return {
        "schema": SCHEMA,
        "run_id": job.run_id,
        "seed": experiment.seed,
        "experiment": experiment.name,
        "versions": versions(),
        "seconds": {"total": round(total_seconds, 2), "train": round(outcome.train_seconds, 2)},
        "model": {
            "name": experiment.model.name,
            "parameters": count_parameters(first),
            "classes": list(experiment.classes),
        },
        "sites": [
            {
                "name": site,
                **site_facts.get(site, {}),
                "privacy": _privacy(outcome, site),
                "evaluate_only": _evaluate_only(outcome, site),
                "test_privacy": to_plain(outcome.releases.get(site)),
                **_released(main or found.get(site), site),
                "personal": personal and _released(personal, site),
            }
            for site in outcome.descriptions
        ],
        "metrics": main and main["pooled"],
        "noised_metrics": main and main["noised"],
        "personal_metrics": personal and personal["pooled"],
        "local_metrics": None if main else {name: m["pooled"] for name, m in found.items()},
        "rounds": outcome.rounds_applied,
        "kept": {"rule": job.keep, "round": outcome.kept_round},
        "incomplete": list(outcome.incomplete),
        "bytes": {"down": outcome.bytes_down, "up": outcome.bytes_up},
    }


def write_model(job: Job, outcome: Outcome) -> None:
    """Write ``model.safetensors`` and ``model.json``, and a pair for each model of one site's.

    What was fitted goes with the model that it was fitted for; the sites' own models share theirs.
    """
    for name, arrays in outcome.models.items():
        stem = "model" if name == SHARED else f"model-{name}"
        points = outcome.operating_points
        point = points.get(name) if name == SHARED else points.get(name, points.get(PERSONAL))
        write_model_file(job.output_dir, stem, job.experiment, job.run_id, arrays, point)


def write_outcome(job: Job, outcome: Outcome) -> None:
    """Write model and result of a run whose server knows no more than its messages.

    Raises:
        IncompleteRunError: afterwards, where not every round was applied.
    """
    write_model(job, outcome)
    write_counts(job, outcome)
    write_json(
        job.output_dir / "result.json", build_result(job, outcome, {}, outcome.train_seconds)
    )
    check_complete(outcome.incomplete)


def check_complete(incomplete: Sequence[str]) -> None:
    """Raise where a run lacks what a complete one would have.

    Raises:
        IncompleteRunError: naming all of it.
    """
    if incomplete:
        raise IncompleteRunError("the run ended incomplete: " + "; ".join(incomplete))


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    packages = ("fedrounds", "flwr", "torch", "torchvision", "opacus", "numpy", "pydicom")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _metrics(job: Job, outcome: Outcome, name: str) -> dict[str, Any]:
    """Pooled figures of one set, and each site's own with how it was released.

    Exact counts and noised histograms are never added: where a federation has both, ``pooled`` is
    over the sites with exact ones, and ``noised`` over the others.
    """
    counts = outcome.test_counts.get(name, {})
    histograms = outcome.test_histograms.get(name, {})
    replicates = outcome.test_replicates.get(name, {})
    classes, point = job.experiment.classes, outcome.operating_points.get(name)
    exact = noised = None
    if counts:
        pooled, drawn = pool(counts), pool_replicates(counts, replicates)
        exact = figures(pooled, classes, drawn, point)
        exact["roc"] = roc_curves(pooled, classes, drawn)
        exact["operating_point"] = _operating_point(job, point)
    if histograms:
        total = reduce(operator.add, (histograms[site] for site in sorted(histograms)))
        noised = histogram_figures(total, classes)
    pooled_figures = exact or noised
    if pooled_figures is not None:
        pooled_figures["subgroups"] = _subgroups(job, outcome, name)
    sites = {
        s: {
            "metrics": figures(c, classes, pool_replicates({s: c}, replicates), point),
            "released": "exact",
        }
        for s, c in counts.items()
    }
    sites |= {
        s: {"metrics": histogram_figures(h, classes), "released": "noised"}
        for s, h in histograms.items()
    }
    return {"pooled": pooled_figures, "noised": noised, "sites": sites}


def _released(found: Mapping[str, Any] | None, site: str) -> dict[str, Any]:
    """A site's part of a set of figures."""
    released: dict[str, Any] = (found or {"sites": {}})["sites"].get(site, NOTHING_RELEASED)
    return released


def _subgroups(job: Job, outcome: Outcome, name: str) -> dict[str, Any]:
    """Pooled figures by each column that was asked for, and what each site says of the column."""
    counts, told = outcome.test_counts.get(name, {}), outcome.test_subgroups.get(name, {})
    classes, point = job.experiment.classes, outcome.operating_points.get(name)
    return {
        column: {
            "sites": {site: said.statuses[column] for site, said in told.items()},
            **column_figures(pool_groups(counts, told, column, job.experiment), classes, point),
        }
        for column in job.experiment.evaluation.subgroups
    }


def _operating_point(job: Job, point: OperatingPoint | None) -> dict[str, Any]:
    """Thresholds and temperature, or why there are none."""
    if point is not None:
        return point.to_json(job.experiment.classes)
    why = "no site released exact counts of its validation patients"
    if job.experiment.privacy.enabled:
        why = "under privacy nothing is fitted on validation patients: no ε would cover it"
    return {"fitted_on": None, "why": why}


def _evaluate_only(outcome: Outcome, site: str) -> dict[str, Any] | None:
    """From which round a site only evaluated, and the code of why; ``None`` where it trained."""
    if site not in outcome.evaluate_only:
        return None
    number, why = outcome.evaluate_only[site]
    return {"from_round": number, "reason": why}


def _privacy(outcome: Outcome, site: str) -> dict[str, Any] | None:
    """What the site's ledger says; where it did not answer in the end, what it had planned."""
    if site in outcome.statements:
        return {**to_plain(outcome.statements[site]), "source": "ledger"}
    plan = outcome.descriptions[site].privacy
    return None if plan is None else {**to_plain(plan), "source": "plan"}
