"""The loop of rounds.

Each round, numbered as the design numbers it:
    1. the strategy says which model each site trains
    2.-5. the sites train (``client/app.py``)
    6. each answer is checked by itself; too few, and the round is not applied
    7. the strategy aggregates; sites evaluate; the checkpoint and the round's line are written
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flwr.app import RecordDict
from flwr.serverapp import Grid

from common.checkpoint import read_tensors, write_tensors
from common.data.split import Part
from common.errors import CheckpointError, IncompleteRunError, MessageError, ModelError
from common.messages import (
    EvaluateAnswer,
    EvaluateRequest,
    Request,
    TrainAnswer,
    TrainRequest,
)
from common.metrics import Counts, figures
from common.models import build_model
from common.parameters import Arrays, arrays_of, check_arrays
from server.exchange import Exchange, Replies
from server.job import Job, Outcome
from server.strategies import Models, Strategy, build_strategy

MAX_FAILED_ROUNDS = 3
"""Rounds in a row that may fail before the run gives up."""


def run_rounds(grid: Grid, job: Job) -> Outcome:
    """Run (or resume) a whole job over ``grid``.

    Raises:
        IncompleteRunError: where the sites do not come, or several rounds in a row fail.
        CheckpointError: where a run to resume is damaged or another experiment's.
    """
    started = time.monotonic()
    exchange = Exchange(grid)
    greeting = Request(job.run_id, 0, job.experiment)
    met = exchange.meet(greeting, job.num_sites, job.wait_seconds)
    if met.refused:
        refusals = "; ".join(f"{node}: {reason}" for node, reason in sorted(met.refused.items()))
        raise IncompleteRunError(
            f"{len(met.refused)} of {job.num_sites} sites cannot join: {refusals}"
        )
    job.progress.described(met.answers)

    strategy = build_strategy(job.experiment.strategy.name)
    state = _State.load(job) if job.resume else None
    if state is None:
        state = _State.fresh(job, strategy, list(exchange.nodes))
    failed = 0
    while state.server_round < job.experiment.rounds:
        state, line = _one_round(exchange, job, strategy, state)
        _commit(job, state, line)
        job.progress.round_done(line)
        failed = 0 if line["applied"] else failed + 1
        if failed == MAX_FAILED_ROUNDS:
            raise IncompleteRunError(
                f"{failed} rounds in a row had too few answers: {line['refused']}"
            )
    train_seconds = time.monotonic() - started

    test_counts, statements = _final_evaluation(exchange, job, state)
    return Outcome(
        descriptions=met.answers,
        models=state.models,
        test_counts=test_counts,
        statements=statements,
        rounds_applied=state.rounds_applied,
        bytes_down=state.bytes_down + exchange.bytes_down,
        bytes_up=state.bytes_up + exchange.bytes_up,
        train_seconds=train_seconds,
    )


@dataclass(frozen=True)
class _State:
    """Everything that a resumed run needs; what a checkpoint holds."""

    server_round: int
    rounds_applied: int
    models: Models
    bytes_down: int = 0
    bytes_up: int = 0

    @staticmethod
    def fresh(job: Job, strategy: Strategy, sites: list[str]) -> _State:
        arrays = arrays_of(build_model(job.experiment, seed=job.experiment.seed))
        return _State(0, 0, strategy.initial_models(arrays, sites))

    @staticmethod
    def load(job: Job) -> _State | None:
        """The last committed round; ``None`` where the run was cut off in its first."""
        if not (job.output_dir / "checkpoint" / "checkpoint.json").exists():
            _forget_lines_after(job, 0)
            return None
        tensors, facts = read_tensors(job.output_dir / "checkpoint", "checkpoint")
        found = facts.get("run_id"), facts.get("experiment_sha256")
        if found != (job.run_id, job.experiment.digest()):
            raise CheckpointError(
                f"{job.output_dir}: its checkpoint is another run's or experiment's"
            )
        models: Models = {}
        for key, value in tensors.items():
            model, name = key.split("/", 1)
            models.setdefault(model, {})[name] = value
        order = list(arrays_of(build_model(job.experiment)))
        models = {name: {key: arrays[key] for key in order} for name, arrays in models.items()}
        _forget_lines_after(job, facts["round"])
        return _State(
            facts["round"], facts["rounds_applied"], models, facts["bytes_down"], facts["bytes_up"]
        )


def _one_round(
    exchange: Exchange, job: Job, strategy: Strategy, state: _State
) -> tuple[_State, dict[str, Any]]:
    started = time.monotonic()
    number = state.server_round + 1
    requests = {  # 1
        site: TrainRequest(
            job.run_id, number, job.experiment, state.models[strategy.model_for(site)]
        )
        for site in exchange.nodes
    }
    expected = next(iter(state.models.values()))
    replies = exchange.ask("train", requests, partial(_train_answer, expected=expected))  # 6
    quorum = job.quorum if job.quorum is not None else len(exchange.nodes) // 2 + 1
    applied = len(replies.answers) >= quorum
    models = state.models
    if applied:
        models = strategy.aggregate_train(models, list(replies.answers.values()))  # 7
    line: dict[str, Any] = {
        "round": number,
        "applied": applied,
        "answered": list(replies.answers),
        "refused": dict(replies.refused),
        "validation": None,
    }
    if applied and (number % job.evaluate_every == 0 or number == job.experiment.rounds):
        line["validation"] = _validation(exchange, job, strategy, models, number)
    state = _State(
        number,
        state.rounds_applied + applied,
        models,
        state.bytes_down,
        state.bytes_up,
    )
    line["bytes"] = {
        "down": state.bytes_down + exchange.bytes_down,
        "up": state.bytes_up + exchange.bytes_up,
    }
    line["seconds"] = round(time.monotonic() - started, 3)
    return state, line


def _train_answer(content: RecordDict, expected: Arrays) -> TrainAnswer:
    answer = TrainAnswer.unpack(content)
    try:
        check_arrays(answer.arrays, expected)
    except ModelError as error:
        raise MessageError(str(error)) from error
    return answer


def _evaluate(
    exchange: Exchange, job: Job, models: Mapping[str, Arrays], number: int, part: Part
) -> Replies[EvaluateAnswer]:
    """Have each site score the model that ``models`` names for it."""
    classes, multi_label = len(job.experiment.classes), job.experiment.multi_label
    requests = {
        site: EvaluateRequest(job.run_id, number, job.experiment, arrays, part)
        for site, arrays in models.items()
    }
    return exchange.ask(
        "evaluate",
        requests,
        lambda content: EvaluateAnswer.unpack(content, classes, multi_label),
    )


def _validation(
    exchange: Exchange, job: Job, strategy: Strategy, models: Models, number: int
) -> dict[str, Any]:
    """Figures on the validation part: pooled over the sites, and each site's own macro AUROC."""
    own = {site: models[strategy.model_for(site)] for site in exchange.nodes}
    replies = _evaluate(exchange, job, own, number, "validation")
    counts = {site: a.counts for site, a in replies.answers.items() if a.counts is not None}
    by_site = {site: _summary(c, job) for site, c in counts.items()}
    pooled = _summary(pool(counts, job), job) if counts else None
    return {"pooled": pooled, "sites": by_site}


def _summary(counts: Counts, job: Job) -> dict[str, float | None]:
    values = figures(counts, job.experiment.classes)
    return {
        name: values[name]["value"] for name in ("auroc_macro", "balanced_accuracy", "log_loss")
    }


def pool(counts: Mapping[str, Counts], job: Job) -> Counts:
    """Add the sites' counts, in the order of their names."""
    total = Counts.zero(len(job.experiment.classes), job.experiment.multi_label)
    for site in sorted(counts):
        total = total + counts[site]
    return total


def _final_evaluation(
    exchange: Exchange, job: Job, state: _State
) -> tuple[dict[str, dict[str, Counts]], dict[str, Any]]:
    """Every model on every site's test patients, once, after the last round."""
    test_counts: dict[str, dict[str, Counts]] = {}
    statements: dict[str, Any] = {}
    for name, arrays in state.models.items():
        everywhere = dict.fromkeys(exchange.nodes, arrays)
        replies = _evaluate(exchange, job, everywhere, state.server_round, "test")
        answers = replies.answers
        test_counts[name] = {s: a.counts for s, a in answers.items() if a.counts is not None}
        statements |= {s: a.privacy for s, a in answers.items() if a.privacy is not None}
    return test_counts, statements


def _commit(job: Job, state: _State, line: Mapping[str, Any]) -> None:
    """Write the round's line, then the checkpoint, whose JSON is the moment of commitment."""
    with (job.output_dir / "rounds.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, allow_nan=False) + "\n")
    tensors = {
        f"{model}/{name}": value
        for model, arrays in state.models.items()
        for name, value in arrays.items()
    }
    facts = {
        "run_id": job.run_id,
        "experiment_sha256": job.experiment.digest(),
        "round": state.server_round,
        "rounds_applied": state.rounds_applied,
        "bytes_down": line["bytes"]["down"],
        "bytes_up": line["bytes"]["up"],
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
