"""The runs that are compared: read, checked to be of the same patients, and grouped by settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import SettingsError
from common.metrics import Counts
from common.metrics.figures import Reading
from common.schema import to_plain
from server.counts_file import SiteCounts, read_counts
from simulations.report.run import FinishedRun

NOT_THE_METHOD = ("seed", "output_dir", "ledger_dir", "engine", "tracker")
"""Settings that may differ between two runs of one method."""


@dataclass(frozen=True)
class ComparedRun:
    """One run.

    Attributes:
        name: its folder, as the command was told.
        run: what it left.
        method: its settings as dotted keys, without the seed and what changes no figure.
        sites: exact counts of the test patients, with their replicates.
    """

    name: str
    run: FinishedRun
    method: Mapping[str, Any]
    sites: Mapping[str, SiteCounts]

    @staticmethod
    def read(folder: Path) -> ComparedRun:
        """Read a finished run.

        Raises:
            CheckpointError: where the folder holds none, or not its counts.
        """
        run = FinishedRun.read(folder)
        plain = {k: v for k, v in to_plain(run.settings).items() if k not in NOT_THE_METHOD}
        return ComparedRun(str(folder), run, _dotted(plain), read_counts(folder))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.run.result["model"]["classes"])

    @property
    def seed(self) -> int:
        return int(self.run.result["seed"])

    def read_site(self, site: str) -> Reading:
        found = self.sites[site]
        return Reading(found.counts, self.classes, found.replicates, None)

    def read_pooled(self) -> Reading:
        """All sites together."""
        one, *others = (self.sites[site] for site in sorted(self.sites))
        counts = sum((o.counts for o in others), start=one.counts)
        replicates = sum((o.replicates for o in others), start=one.replicates)
        return Reading(counts, self.classes, replicates, None)


def check_comparable(runs: Sequence[ComparedRun]) -> None:
    """Raise where the runs did not score the same test patients on the same bootstrap draws.

    Raises:
        SettingsError: naming all that differs from the first run.
    """
    first = runs[0]
    problems = [
        f"{run.name}: no site's exact counts of test patients with bootstrap replicates, which "
        "differences are drawn from; it takes release_metrics=exact and evaluation.replicates"
        for run in runs
        if not run.sites
    ]
    for run in runs[1:]:
        problems += [f"{run.name}: {text}, unlike {first.name}" for text in _differs(run, first)]
    if problems:
        raise SettingsError([*problems, "only runs over the same test patients can be compared"])


def methods_of(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs that differ in their seed alone, together; in the order in which they were told."""
    methods: list[list[ComparedRun]] = []
    for run in runs:
        same = next((m for m in methods if m[0].method == run.method), None)
        if same is None:
            methods.append([run])
        else:
            same.append(run)
    return methods


def differing_settings(methods: Sequence[Sequence[ComparedRun]]) -> list[dict[str, Any]]:
    """Of each method, the settings in which they are not all alike."""
    plain = [method[0].method for method in methods]
    keys = sorted({key for one in plain for key in one})
    differ = [key for key in keys if any(one.get(key) != plain[0].get(key) for one in plain)]
    return [{key: one.get(key) for key in differ} for one in plain]


def _differs(run: ComparedRun, first: ComparedRun) -> list[str]:
    if run.classes != first.classes:
        return [f"its classes are {', '.join(run.classes)}"]
    if set(run.sites) != set(first.sites):
        return [f"counts of the sites {', '.join(sorted(run.sites)) or 'none'}"]
    return [
        f"{site} {text}"
        for site in sorted(run.sites)
        if (text := _unpaired(run.sites[site], first.sites[site]))
    ]


def _unpaired(one: SiteCounts, other: SiteCounts) -> str | None:
    """How two sets of one site's counts are not of the same patients and draws.

    What every replicate drew, class by class, depends on the patients and on the draws alone,
    whatever model scored them; 200 draws that agree in it are the same.
    """
    if not all(map(np.array_equal, _sizes(one.counts), _sizes(other.counts))):
        return "tested other patients, by another split or other data"
    if one.replicates.sites.shape != other.replicates.sites.shape:
        return "drew another number of replicates (evaluation.replicates)"
    if not all(map(np.array_equal, _sizes(one.replicates), _sizes(other.replicates))):
        return "drew other patients, by another data.split_key or from other data"
    return None


def _sizes(counts: Counts) -> list[NDArray[np.int64]]:
    """Images with and without each class, of the counts or of each replicate."""
    return [counts.positives.sum(axis=-1), counts.negatives.sum(axis=-1)]


def _dotted(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in plain.items():
        inner = value if isinstance(value, Mapping) else {}
        found |= _dotted(inner, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found
