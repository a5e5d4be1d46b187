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
from dataclasses import replace
from functools import partial
from typing import Any

from flwr.app import RecordDict
from flwr.serverapp import Grid

from common.config import StrategySettings
from common.errors import IncompleteRunError, JoinError, MessageError, ModelError
from common.messages import Description, Request, TrainAnswer, TrainRequest
from common.models import build_model
from common.parameters import Arrays, check_arrays, received, trained_names
from server.evaluation import final_evaluation, validation_line
from server.exchange import Exchange
from server.job import Job, Outcome
from server.keeping import averaged, better
from server.state import RunState, commit
from server.strategies import Assignment, Strategy, build_strategy
from server.witness import Witness, witnessed

MAX_FAILED_ROUNDS = 3
"""Rounds in a row that may fail before the run gives up."""

BY_ITS_OWN_RULES = ("policy", "budget")
"""Codes of a site that will not train any more in this run, and still evaluates."""


def run_rounds(grid: Grid, job: Job) -> Outcome:
    """Run (or resume) a whole job over ``grid``.

    Raises:
        JoinError: where a site refuses to take part, or they are too few for the strategy.
        SettingsError: where the strategy does not fit the experiment.
        IncompleteRunError: where the sites do not come, or several rounds in a row fail.
        CheckpointError: where a run to resume is damaged or another experiment's.
    """
    started = time.monotonic()
    strategy = build_strategy(job.experiment)
    strategy.check_sites(job.num_sites)
    exchange = Exchange(grid, job.deadline_seconds, job.registered)
    witness = Witness(job.witness or job.output_dir / "witness.json")
    descriptions = _meet(exchange, job, witness)
    job.progress.described(descriptions)

    strategy.check_sites(sum(not d.evaluate_only for d in descriptions.values()))
    state = RunState.load(job) if job.resume else None
    if state is None:
        state = RunState.fresh(job, strategy, list(exchange.nodes))
    declined = {s: d.evaluate_only for s, d in descriptions.items() if d.evaluate_only}
    state = _without(state, declined, state.server_round + 1)
    trained = trained_names(build_model(job.experiment))
    failed = 0
    while state.server_round < job.experiment.rounds and set(exchange.nodes) - set(
        state.evaluate_only
    ):
        state, line = _one_round(exchange, job, strategy, state, witness, trained)
        if job.keep == "best_validation":
            state = replace(state, kept=better(state.kept, line, state.learnt.models))
        elif job.keep == "average" and line["applied"]:
            models = state.learnt.models
            mean = averaged(state.kept, state.server_round, models, job.average_decay)
            state = replace(state, kept=mean)
        commit(job, state, line)
        job.progress.round_done(line)
        failed = 0 if line["applied"] else failed + 1
        if failed == MAX_FAILED_ROUNDS:
            raise IncompleteRunError(
                f"{failed} rounds in a row had too few answers: {line['refused']}"
            )
    train_seconds = time.monotonic() - started

    kept_round = state.server_round
    if state.kept is not None:
        kept_round = state.kept.server_round
        state = replace(state, learnt=replace(state.learnt, models=state.kept.models))
    # Sites score what they receive: so the model that is written is that one, to the bit.
    models = {n: received(a, strategy.settings.wire) for n, a in state.learnt.models.items()}
    state = replace(state, learnt=replace(state.learnt, models=models))
    final = final_evaluation(exchange, job, strategy, state, witness)
    return Outcome(
        descriptions=descriptions,
        models=state.learnt.models,
        operating_points=final.points,
        test_counts=final.counts,
        test_replicates=final.replicates,
        test_histograms=final.histograms,
        test_subgroups=final.subgroups,
        statements=final.statements,
        releases=final.releases,
        evaluate_only=state.evaluate_only,
        kept_round=kept_round,
        rounds_applied=state.rounds_applied,
        incomplete=tuple(_lacking(job, state, list(exchange.nodes)) + final.unscored),
        bytes_down=state.bytes_down + exchange.bytes_down,
        bytes_up=state.bytes_up + exchange.bytes_up,
        train_seconds=train_seconds,
    )


def _meet(exchange: Exchange, job: Job, witness: Witness) -> Mapping[str, Description]:
    """Every site's description.

    Raises:
        JoinError: where a site cannot join, its ledger is not the one that was seen, or where no
            site at all would train.
    """
    greeting = Request(job.run_id, 0, job.experiment)
    met = witnessed(exchange.meet(greeting, job.num_sites, job.wait_seconds), job, witness)
    refused = dict(met.refused)
    if not refused and all(d.evaluate_only for d in met.answers.values()):
        refused = {s: f"evaluates only: {d.evaluate_only}" for s, d in met.answers.items()}
    if refused:
        refusals = "; ".join(f"{node}: {reason}" for node, reason in sorted(refused.items()))
        raise JoinError(f"{len(refused)} of {job.num_sites} sites cannot join: {refusals}")
    return met.answers


def _one_round(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState, witness: Witness,
    trained: frozenset[str],
) -> tuple[RunState, dict[str, Any]]:  # fmt: skip
    started = time.monotonic()
    number = state.server_round + 1
    requests = {  # 1
        site: _train_request(job, number, strategy.configure_train(state.learnt, site))
        for site in exchange.nodes
        if site not in state.evaluate_only
    }
    before = next(iter(state.learnt.models.values()))
    settings = job.experiment.strategy
    unpack = partial(_train_answer, before=before, trained=trained, settings=settings)
    replies = exchange.ask("train", requests, unpack)  # 6
    replies = witnessed(replies, job, witness)
    declined = {s: why for s, why in replies.declined.items() if why in BY_ITS_OWN_RULES}
    state = _without(state, declined, number)
    training = len(requests) - len(declined)
    quorum = max(job.quorum or training // 2 + 1, strategy.least_sites)
    applied = len(replies.answers) >= quorum
    learnt = state.learnt
    if applied:
        learnt = strategy.aggregate_train(learnt, list(replies.answers.values()))  # 7
    line: dict[str, Any] = {
        "round": number,
        "applied": applied,
        "quorum": quorum,
        "answered": list(replies.answers),
        "refused": dict(replies.refused),
        "dropped": exchange.take_dropped(),
        "evaluate_only": {site: why for site, (_, why) in state.evaluate_only.items()},
        "validation": None,
    }
    if applied and (number % job.evaluate_every == 0 or number == job.experiment.rounds):
        line["validation"] = validation_line(
            exchange, job, strategy, learnt.models, number, witness
        )
    state = replace(
        state,
        server_round=number,
        rounds_applied=state.rounds_applied + applied,
        learnt=learnt,
        heard=tuple(sorted({*state.heard, *replies.answers})) if applied else state.heard,
    )
    line["bytes"] = {
        "down": state.bytes_down + exchange.bytes_down,
        "up": state.bytes_up + exchange.bytes_up,
    }
    line["seconds"] = round(time.monotonic() - started, 3)
    return state, line


def _without(state: RunState, declined: Mapping[str, str], number: int) -> RunState:
    """Sites that will not train from round ``number`` on; where they said so before, since then."""
    news = {site: (number, why) for site, why in declined.items()}
    return replace(state, evaluate_only={**news, **state.evaluate_only})


def _train_request(job: Job, number: int, sent: Assignment) -> TrainRequest:
    return TrainRequest(
        job.run_id, number, job.experiment, sent.arrays, sent.correction, sent.personal
    )


def _train_answer(
    content: RecordDict, before: Arrays, trained: frozenset[str], settings: StrategySettings
) -> TrainAnswer:
    """An answer with whole models: what is frozen is not sent, and is the same in all of them."""
    answer = TrainAnswer.unpack(content, settings.trains_personal, settings.wire)
    expected = {name: before[name] for name in before if name in trained}
    try:
        check_arrays(answer.arrays, expected)
        if answer.personal is not None:
            check_arrays(answer.personal, expected)
    except ModelError as error:
        raise MessageError(str(error)) from error
    return replace(
        answer,
        arrays={**before, **answer.arrays},
        personal=answer.personal and {**before, **answer.personal},
    )


def _lacking(job: Job, state: RunState, sites: list[str]) -> list[str]:
    """Rounds that were not applied, and sites that no applied round heard of."""
    lines = []
    if state.rounds_applied < job.experiment.rounds:
        lines.append(f"{state.rounds_applied} of {job.experiment.rounds} rounds were applied")
    silent = sorted(set(sites) - set(state.heard) - set(state.evaluate_only))
    if silent:
        lines.append(f"no applied round has an answer of {', '.join(silent)}")
    return lines
