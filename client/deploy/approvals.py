"""What was shown of each run, and what was decided: ``approvals/RUN.json`` in the site's folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.checkpoint import read_json, write_json
from common.errors import SettingsError
from common.journal import Journal
from common.schema import build, suggest, to_plain

FOLDER = "approvals"
Decision = Literal["asked", "approved", "refused"]


@dataclass(frozen=True)
class Approval:
    """What was shown of a run, and what was decided."""

    run_id: str
    experiment: str
    experiment_sha256: str
    model: str
    rounds: int
    round_steps: int
    epsilon_run: float | None
    """What the run would cost; ``None`` without differential privacy, or where nothing is left."""
    epsilon_life: float | None
    delta: float | None
    unit: str | None
    steps: int | None
    evaluate_only: str
    """The code of why this site will only evaluate; empty where it trains."""
    decision: Decision = "asked"
    by: str = ""
    """``policy``, or the name of the user who decided."""

    def words(self) -> str:
        """The run in one line, for whoever decides."""
        text = f"run {self.run_id[:12]} '{self.experiment}': {self.model}, {self.rounds} rounds of "
        text += f"{self.round_steps} steps"
        if self.evaluate_only:
            return f"{text}; this site only evaluates ({self.evaluate_only})"
        if self.epsilon_run is None:
            return f"{text}, WITHOUT differential privacy"
        return (
            f"{text}; costs ε = {self.epsilon_run:.3f} at δ = {self.delta:g} for each {self.unit}, "
            f"{self.epsilon_life:.3f} over the ledger's life"
        )


def approval_path(folder: Path, run_id: str) -> Path:
    """A run's file; its id is whatever the server chose, so the name is a digest of it."""
    return folder / FOLDER / f"{hashlib.sha256(run_id.encode()).hexdigest()[:16]}.json"


def read_approval(path: Path) -> Approval:
    """Read one.

    Raises:
        CheckpointError: where it cannot be read.
        SettingsError: where it is none.
    """
    return build(Approval, read_json(path))


def approvals(folder: Path) -> list[Approval]:
    """Every run that was ever asked about."""
    return [read_approval(path) for path in sorted((folder / FOLDER).glob("*.json"))]


def decide(folder: Path, run_id: str, decision: Decision, by: str) -> Approval:
    """Approve or refuse a run that was asked about; ``run_id`` may be its first letters.

    Raises:
        SettingsError: where no run, or more than one, begins so.
    """
    found = [a for a in approvals(folder) if a.run_id.startswith(run_id)]
    if len(found) != 1:
        known = [a.run_id[:12] for a in approvals(folder)]
        raise SettingsError(f"no one run begins with '{run_id}'{suggest(run_id, known)}")
    return record(folder, found[0], decision, by)


def record(folder: Path, approval: Approval, decision: Decision, by: str) -> Approval:
    """Write a decision, to the run's file and to the audit."""
    decided = build(Approval, {**to_plain(approval), "decision": decision, "by": by})
    write_json(approval_path(folder, approval.run_id), to_plain(decided))
    Journal(folder).audit(
        f"run {decision}", run_id=approval.run_id, by=by, experiment=approval.experiment,
        experiment_sha256=approval.experiment_sha256, model=approval.model, rounds=approval.rounds,
        epsilon_run=approval.epsilon_run, delta=approval.delta,
    )  # fmt: skip
    return decided
