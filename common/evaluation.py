"""How models are measured: the settings of it, which every site must agree on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from common.data.split import Part

MAX_REPLICATES = 2000
"""More narrow no interval, and each costs the site a pass over its scores."""


UNKNOWN = "unknown"
"""The group of the images whose value is missing, or is in no other group."""


@dataclass(frozen=True)
class Grouping:
    """The groups of one column of metadata: public, the same at every site."""

    values: tuple[str, ...] = ()
    """Of a category: a group each, whatever their case."""
    bands: tuple[float, ...] = ()
    """Of a number: where each band begins, rising. A band holds its edge; the last has no end."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every group, ``unknown`` last."""
        bands = [f"{low:g} to under {high:g}" for low, high in pairwise(self.bands)]
        bands += [f"{edge:g} and over" for edge in self.bands[-1:]]
        return (*self.values, *bands, UNKNOWN)


@dataclass(frozen=True)
class EvaluationSettings:
    """How models are measured, on patients that do not train."""

    replicates: int = 200
    """Bootstrap replicates that the intervals are made of; 0: figures without intervals."""
    specificity: float = 0.9
    """At which each class's sensitivity is told; the threshold is chosen on validation patients."""
    sensitivity: float = 0.9
    """At which each class's specificity is told, likewise."""
    coverage: float = 0.9
    """How often a conformal set shall hold the truth."""
    subgroups: Mapping[str, Grouping] = field(default_factory=dict)
    """Columns of metadata by which test figures are told as well, each with its groups; a site
    counts by those that its policy allows."""

    def replicates_of(self, part: Part) -> int:
        """How many come with a part's counts: test figures have intervals."""
        return self.replicates if part == "test" else 0

    def subgroups_of(self, part: Part) -> Mapping[str, Grouping]:
        """The columns by which a part is counted as well."""
        return self.subgroups if part == "test" else {}


def check_evaluation(evaluation: EvaluationSettings) -> list[str]:
    """What the settings hold against themselves, a line each."""
    problems = []
    if not 0 <= evaluation.replicates <= MAX_REPLICATES:
        problems.append(
            f"evaluation.replicates: expected 0 to {MAX_REPLICATES}, got {evaluation.replicates}"
        )
    for name in ("specificity", "sensitivity", "coverage"):
        if not 0 < getattr(evaluation, name) < 1:
            problems.append(
                f"evaluation.{name}: expected between 0 and 1, got {getattr(evaluation, name)}"
            )
    for column, grouping in evaluation.subgroups.items():
        problems += check_grouping(f"evaluation.subgroups.{column}", grouping)
    return problems


def check_grouping(where: str, grouping: Grouping) -> list[str]:
    """What a column's groups hold against themselves; ``where`` is how the setting is called."""
    values, bands = [value.strip().casefold() for value in grouping.values], grouping.bands
    if bool(values) is bool(bands):
        return [f"{where}: expected either values, as {{values: [F, M]}}, or bands, as "
                "{bands: [0, 40, 60, 80]}"]  # fmt: skip
    if len({*values, UNKNOWN, ""}) < len(values) + 2:
        return [f"{where}: expected values that differ in more than case, none of them blank or "
                f"'{UNKNOWN}', which is a group already"]  # fmt: skip
    if not all(low < high for low, high in pairwise(bands)) or not all(map(math.isfinite, bands)):
        return [f"{where}: expected rising bands, as [0, 40, 60, 80], got {list(bands)}"]
    return []
