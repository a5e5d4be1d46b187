"""Exact counts by group of metadata: what a site lets out of each column that its policy names.

1. a column is counted by where the site's policy has it, with the very groups that are asked for:
   another division of the same patients could be subtracted from one that was told before
2. an image is in the group of its own metadata; a patient's images may be in several
3. a class is withheld from a group as it is from all patients (``withholding.py``)
4. a group is counted as the bootstrap's replicates are: as a draw of those images, first once
   each, and then as often as each replicate drew their patients
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort
from client.site import Site
from client.withholding import few_by_group, keep_images, withhold
from common.config import Experiment
from common.evaluation import Grouping
from common.metrics import Counts, Scored, count_replicates
from common.subgroups import Status


@dataclass(frozen=True)
class GroupRelease:
    """What no ε covers of one group, and the classes that are not in it.

    Attributes:
        name: the group's.
        draws: counts with an axis (1 + B,) first: of the group itself, and of each replicate.
        withheld: the classes that few patients of the group have.
    """

    name: str
    draws: Counts
    withheld: tuple[str, ...]


def statuses(site: Site, asked: Mapping[str, Grouping]) -> dict[str, Status]:
    """Whether the site counts by each column that is asked for; from ``site.yaml`` alone."""
    allowed, given = site.settings.policy.subgroups, site.settings.data.metadata_columns
    found: dict[str, Status] = {}
    for column, grouping in asked.items():
        if allowed.get(column) != grouping:  # 1
            found[column] = "withheld"
        else:
            found[column] = "shown" if column in given else "absent"
    return found


def count_groups(
    cohort: Cohort,
    scored: Scored,
    weights: NDArray[np.int64],
    column: str,
    experiment: Experiment,
    min_count: int,
) -> tuple[GroupRelease, ...]:
    """Count every group of one column, in the order of its names.

    Args:
        cohort: of n images, without the classes that are withheld from all patients.
        scored: its images, in the order of its rows.
        weights: int64 (B, n), how often each replicate drew each image's patient.
        column: one of ``experiment.evaluation.subgroups`` that ``cohort`` has.
        experiment: the shared experiment.
        min_count: cells with fewer patients are withheld; 0 withholds none.
    """
    names, groups = experiment.evaluation.subgroups[column].names, cohort.groups[column]  # 2
    draws = np.concatenate([np.ones((1, len(scored)), np.int64), weights])
    few = few_by_group(cohort, groups, len(names), experiment.multi_label, min_count)  # 3
    releases = []
    for place, name in enumerate(names):
        group = keep_images(cohort, groups == place)
        shown = withhold(group, few[place], experiment.multi_label)
        images = np.searchsorted(cohort.rows, shown.rows)
        counted = replace(scored.take(images), labels=shown.labels[shown.rows])
        withheld = tuple(
            c for c, is_few in zip(experiment.classes, few[place], strict=True) if is_few
        )
        counts = count_replicates(counted, draws[:, images])  # 4
        releases.append(GroupRelease(name, counts, withheld))
    return tuple(releases)
