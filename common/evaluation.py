"""How models are measured: the settings of it, which every site must agree on."""

from __future__ import annotations

from dataclasses import dataclass

from common.data.split import Part

MAX_REPLICATES = 2000
"""More narrow no interval, and each costs the site a pass over its scores."""


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

    def replicates_of(self, part: Part) -> int:
        """How many come with a part's counts: test figures have intervals."""
        return self.replicates if part == "test" else 0


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
    return problems
