"""What the sites answered on their test patients, kept beside the result.

``result.json`` has figures, and figures of two runs cannot be paired. Their counts can: the
replicates of both are of the same draws of patients (``common/metrics/bootstrap.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.checkpoint import read_tensors, write_tensors
from common.errors import CheckpointError, MessageError
from common.metrics import Counts
from common.metrics.bootstrap import Replicates
from server.job import Job, Outcome
from server.strategies import PERSONAL, SHARED

STEM = "test_counts"


@dataclass(frozen=True)
class SiteCounts:
    """One site's exact counts of its test patients, with their replicates."""

    counts: Counts
    replicates: Counts


def write_counts(job: Job, outcome: Outcome) -> None:
    """Write ``test_counts.json`` and its tensors, of each site that released exact counts.

    Of a site the counts of one model are kept: the shared one's, or else its own.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for site in outcome.descriptions:
        name = next((n for n in (SHARED, PERSONAL, site) if n in outcome.test_counts), None)
        if name is None or site not in outcome.test_replicates.get(name, {}):
            continue
        counts, again = outcome.test_counts[name][site], outcome.test_replicates[name][site]
        tensors |= {f"{site}/counts/{key}": a for key, a in counts.to_arrays().items()}
        tensors |= {f"{site}/replicates/{key}": a for key, a in again.to_arrays().items()}
    facts = {
        "run_id": job.run_id,
        "classes": list(job.experiment.classes),
        "multi_label": job.experiment.multi_label,
        "replicates": job.experiment.evaluation.replicates,
    }
    write_tensors(job.output_dir, STEM, tensors, facts)


def read_counts(folder: Path) -> Mapping[str, SiteCounts]:
    """Read what :func:`write_counts` wrote into a run's folder, by site.

    Raises:
        CheckpointError: where it is missing, damaged, or not to be believed.
    """
    tensors, facts = read_tensors(folder, STEM)
    sites: dict[str, dict[str, dict[str, NDArray[Any]]]] = {}
    found = {}
    try:
        for key, value in tensors.items():
            site, part, name = key.split("/")
            sites.setdefault(site, {}).setdefault(part, {})[name] = value
        for site, parts in sorted(sites.items()):
            counts = Counts.from_arrays(
                parts["counts"], len(facts["classes"]), facts["multi_label"]
            )
            again = Replicates.from_arrays(parts["replicates"], counts, facts["replicates"])
            found[site] = SiteCounts(counts, again.expand(counts))
    except (KeyError, TypeError, ValueError, MessageError) as error:
        raise CheckpointError(f"{folder / STEM}.json: not the counts of a run: {error}") from error
    return found
