"""The loop of rounds.

Each round, numbered as the design numbers it:
    1. the strategy says which model each site trains
    2.-5. the sites train (``client/app.py``)
    6. each answer is checked by itself; too few, and the round is not applied
    7. the strategy aggregates; sites evaluate; the checkpoint and the round's line are written
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from flwr.app import RecordDict
from flwr.serverapp import Grid

from common.data.split import Part
from common.errors import IncompleteRunError, JoinError, MessageError, ModelError
from common.messages import (
    EvaluateAnswer,
    EvaluateRequest,
    PrivacyStatement,
    Request,
    TrainAnswer,
    TrainRequest,
)
from common.metrics import Counts, figures
from common.parameters import Arrays, check_arrays
from server.exchange import Exchange, Replies
from server.job import Job, Outcome
from server.state import RunState, commit
from server.strategies import STRATEGIES, Models, Strategy

MAX_FAILED_ROUNDS = 3
"""Rounds in a row that may fail before the run gives up."""


def run_rounds(grid: Grid, job: Job) -> Outcome:
    """Run (or resume) a whole job over ``grid``.

    Raises:
        JoinError: where a site refuses to take part.
        IncompleteRunError: where the sites do not come, or several rounds in a row fail.
        CheckpointError: where a run to resume is damaged or another experiment's.
    """
    started = time.monotonic()
    exchange = Exchange(grid)
    greeting = Request(job.run_id, 0, job.experiment)
    met = exchange.meet(greeting, job.num_sites, job.wait_seconds)
    if met.refused:
        refusals = "; ".join(f"{node}: {reason}" for node, reason in sorted(met.refused.items()))
        raise JoinError(f"{len(met.refused)} of {job.num_sites} sites cannot join: {refusals}")
    job.progress.described(met.answers)

    strategy = STRATEGIES.get(job.experiment.strategy.name)()
    state = RunState.load(job) if job.resume else None
    if state is None:
        state = RunState.fresh(job, strategy, list(exchange.nodes))
    failed = 0
    while state.server_round < job.experiment.rounds:
        state, line = _one_round(exchange, job, strategy, state)
        commit(job, state, line)
        job.progress.round_done(line)
        failed = 0 if line["applied"] else failed + 1
        if failed == MAX_FAILED_ROUNDS:
            raise IncompleteRunError(
                f"{failed} rounds in a row had too few answers: {line['refused']}"
            )
    train_seconds = time.monotonic() - started

    test_counts, statements, unscored = _final_evaluation(exchange, job, state)
    return Outcome(
        descriptions=met.answers,
        models=state.models,
        test_counts=test_counts,
        statements=statements,
        rounds_applied=state.rounds_applied,
        incomplete=tuple(_lacking(job, state, list(exchange.nodes)) + unscored),
        bytes_down=state.bytes_down + exchange.bytes_down,
        bytes_up=state.bytes_up + exchange.bytes_up,
        train_seconds=train_seconds,
    )


def _one_round(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState
) -> tuple[RunState, dict[str, Any]]:
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
    state = RunState(
        number,
        state.rounds_applied + applied,
        models,
        tuple(sorted({*state.heard, *replies.answers})) if applied else state.heard,
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
    exchange: Exchange, job: Job, state: RunState
) -> tuple[dict[str, dict[str, Counts]], dict[str, PrivacyStatement], list[str]]:
    """Every model on every site's test patients, once, after the last round."""
    test_counts: dict[str, dict[str, Counts]] = {}
    statements: dict[str, PrivacyStatement] = {}
    unscored: list[str] = []
    for name, arrays in state.models.items():
        everywhere = dict.fromkeys(exchange.nodes, arrays)
        replies = _evaluate(exchange, job, everywhere, state.server_round, "test")
        answers = replies.answers
        test_counts[name] = {s: a.counts for s, a in answers.items() if a.counts is not None}
        statements |= {s: a.privacy for s, a in answers.items() if a.privacy is not None}
        unscored += [
            f"{site} did not score the model '{name}': {why}"
            for site, why in replies.refused.items()
        ]
    return test_counts, statements, unscored


def _lacking(job: Job, state: RunState, sites: list[str]) -> list[str]:
    """Rounds that were not applied, and sites that no applied round heard of."""
    lines = []
    if state.rounds_applied < job.experiment.rounds:
        lines.append(f"{state.rounds_applied} of {job.experiment.rounds} rounds were applied")
    silent = sorted(set(sites) - set(state.heard))
    if silent:
        lines.append(f"no applied round has an answer of {', '.join(silent)}")
    return lines
