"""What a run must not lose: its state, the checkpoint that holds it, and the rounds' lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.checkpoint import read_json, read_tensors, write_tensors
from common.errors import CheckpointError, JoinError
from common.models import build_model
from common.parameters import arrays_of
from server.job import Job
from server.keeping import Kept
from server.pretrained import initial_arrays
from server.strategies import Models, Strategy, StrategyState


@dataclass(frozen=True)
class RunState:
    """Everything that a resumed run needs; what a checkpoint holds."""

    server_round: int
    rounds_applied: int
    learnt: StrategyState
    heard: tuple[str, ...] = ()
    """Sites with an answer in an applied round."""
    evaluate_only: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Sites that do not train any more, to the round from which and the code of why."""
    kept: Kept | None = None
    """What the run would end with now, where that is not its last round."""
    bytes_down: int = 0
    bytes_up: int = 0
    sites: tuple[str, ...] = ()
    """Those that the run was begun with."""
    seconds: float = 0.0
    """Wall time until the last commit, over all starts."""

    @staticmethod
    def fresh(job: Job, strategy: Strategy, sites: list[str]) -> RunState:
        arrays = initial_arrays(job.experiment, job.pretrained)
        return RunState(0, 0, strategy.initial_state(arrays, sites), sites=tuple(sites))

    @staticmethod
    def load(job: Job) -> RunState | None:
        """The last committed round; ``None`` where the run was cut off in its first."""
        if not (job.output_dir / "checkpoint" / "checkpoint.json").exists():
            _forget_lines_after(job, 0)
            return None
        tensors, facts = read_tensors(job.output_dir / "checkpoint", "checkpoint")
        found = facts.get("run_id"), facts.get("experiment_sha256")
        expected = job.run_id, job.experiment.digest()
        if found != expected:
            raise CheckpointError(
                f"{job.output_dir}: its checkpoint is another run's or experiment's: expected run "
                f"and experiment {expected}, found {found}"
            )
        place = {name: n for n, name in enumerate(arrays_of(build_model(job.experiment)))}
        stored: dict[str, Models] = {"models": {}, "memory": {}, "kept": {}}
        for key in sorted(tensors, key=lambda key: place.get(key.split("/", 2)[2], len(place))):
            kind, owner, name = key.split("/", 2)
            stored[kind].setdefault(owner, {})[name] = tensors[key]
        kept = facts["kept"]
        _forget_lines_after(job, facts["round"])
        return RunState(
            server_round=facts["round"],
            rounds_applied=facts["rounds_applied"],
            learnt=StrategyState(stored["models"], stored["memory"]),
            heard=tuple(facts["heard"]),
            evaluate_only={site: (n, why) for site, (n, why) in facts["evaluate_only"].items()},
            kept=kept and Kept(kept["round"], kept["auroc"], stored["kept"]),
            bytes_down=facts["bytes_down"],
            bytes_up=facts["bytes_up"],
            sites=tuple(facts["sites"]),
            seconds=facts["seconds"],
        )

    def check_sites(self, present: Iterable[str]) -> None:
        """Refuse to go on with sites that the run was not begun with.

        Raises:
            JoinError: naming them.
        """
        new = sorted(set(present) - set(self.sites))
        if new:
            raise JoinError(
                f"the run was begun by {', '.join(self.sites)}, and {', '.join(new)} came too: a "
                "run goes on with the sites that it was begun with, so leave the others out, or "
                "begin a new run"
            )


def begun_sites(output_dir: Path) -> tuple[str, ...]:
    """The sites that the run in a folder was begun with; none where no round was committed."""
    path = output_dir / "checkpoint" / "checkpoint.json"
    return tuple(read_json(path)["sites"]) if path.exists() else ()


def commit(job: Job, state: RunState, line: Mapping[str, Any]) -> None:
    """Write the round's line, then the checkpoint, whose JSON is the moment of commitment."""
    with (job.output_dir / "rounds.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, allow_nan=False) + "\n")
    learnt, kept = state.learnt, state.kept
    tensors = {
        f"{kind}/{owner}/{name}": value
        for kind, models in (
            ("models", learnt.models),
            ("memory", learnt.memory),
            ("kept", kept.models if kept else {}),
        )
        for owner, arrays in models.items()
        for name, value in arrays.items()
    }
    facts = {
        "run_id": job.run_id,
        "experiment_sha256": job.experiment.digest(),
        "round": state.server_round,
        "rounds_applied": state.rounds_applied,
        "heard": list(state.heard),
        "evaluate_only": {site: list(since) for site, since in state.evaluate_only.items()},
        "kept": kept and {"round": kept.server_round, "auroc": kept.auroc},
        "bytes_down": line["bytes"]["down"],
        "bytes_up": line["bytes"]["up"],
        "sites": list(state.sites),
        "seconds": round(state.seconds, 3),
    }
    write_tensors(job.output_dir / "checkpoint", "checkpoint", tensors, facts, versioned=True)


def _forget_lines_after(job: Job, server_round: int) -> None:
    """Drop lines of rounds that were not committed before the run was cut off."""
    path = job.output_dir / "rounds.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if _round_of(line) <= server_round]
    path.write_text("".join(kept), encoding="utf-8")


def _round_of(line: str) -> float:
    try:
        return float(json.loads(line)["round"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line: it was being written when the run was cut off
