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
from server.keeping import kept_after
from server.state import RunState, commit
from server.strategies import Assignment, Models, Strategy, build_strategy
from server.witness import Witness, witnessed

MAX_FAILED_ROUNDS = 3
"""Rounds in a row that may fail before the run gives up."""

BY_ITS_OWN_RULES = ("policy", "budget")
"""Codes of a site that will not train any more in this run, and still evaluates."""


def run_rounds(grid: Grid, job: Job) -> Outcome:
    """Run (or resume) a whole job over ``grid``.

    Raises:
        JoinError: where a site refuses to take part, they are too few for the strategy, or a run
            to resume was not begun with one that comes.
        SettingsError: where the strategy does not fit the experiment.
        IncompleteRunError: where the sites do not come, or several rounds in a row, or all, fail.
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
    state = _begun(exchange, job, strategy, descriptions)
    earlier_seconds = state.seconds
    state = _train(exchange, job, strategy, state, witness, started)
    models, kept_round = _ended_with(exchange, strategy, state)
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
        train_seconds=state.seconds,
        earlier_seconds=earlier_seconds,
        scored=tuple(final.scored),
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


def _begun(
    exchange: Exchange, job: Job, strategy: Strategy, descriptions: Mapping[str, Description]
) -> RunState:
    """The state before the next round: a new one, or the last that was committed."""
    state = RunState.load(job) if job.resume else None
    if state is None:
        state = RunState.fresh(job, strategy, list(exchange.nodes))
    state.check_sites(exchange.nodes)
    declined = {s: d.evaluate_only for s, d in descriptions.items() if d.evaluate_only}
    return _without(strategy, state, declined, state.server_round + 1)


def _train(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState, witness: Witness,
    started: float,
) -> RunState:  # fmt: skip
    """All rounds that are left, each committed as it ends.

    Raises:
        IncompleteRunError: where several in a row, or all of them, had too few answers.
    """
    trained = trained_names(build_model(job.experiment))
    earlier_seconds, failed, refused = state.seconds, 0, "see rounds.jsonl"
    while state.server_round < job.experiment.rounds and set(exchange.nodes) - set(
        state.evaluate_only
    ):
        state, line = _one_round(exchange, job, strategy, state, witness, trained)
        kept = kept_after(job, state.kept, line, state.learnt.models)
        seconds = earlier_seconds + time.monotonic() - started
        state = replace(state, kept=kept, seconds=seconds)
        commit(job, state, line)
        job.progress.round_done(line)
        refused = "; ".join(f"{site}: {why}" for site, why in line["refused"].items())
        failed = 0 if line["applied"] else failed + 1
        if failed == MAX_FAILED_ROUNDS:
            raise IncompleteRunError(
                f"{failed} rounds in a row had fewer than {line['quorum']} answers: {refused}"
            )
    if not state.rounds_applied:
        raise IncompleteRunError(f"no round was applied, of {state.server_round}: {refused}")
    return state


def _ended_with(exchange: Exchange, strategy: Strategy, state: RunState) -> tuple[Models, int]:
    """The models that are scored in the end, and the round that they are of.

    Sites score what they receive: so the model that is written is that one, to the bit.
    """
    models, number = state.learnt.models, state.server_round
    if state.kept is not None:
        models, number = state.kept.models, state.kept.server_round
    tested = strategy.tested(list(exchange.nodes), state.heard)
    scored = {model for by_site in tested.values() for model in by_site.values()}
    wire = strategy.settings.wire
    return {name: received(models[name], wire) for name in models if name in scored}, number


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
    state = _without(strategy, state, declined, number)
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
    state = replace(
        state,
        server_round=number,
        rounds_applied=state.rounds_applied + applied,
        learnt=learnt,
        heard=tuple(sorted({*state.heard, *replies.answers})) if applied else state.heard,
    )
    if applied and (number % job.evaluate_every == 0 or number == job.experiment.rounds):
        line["validation"] = validation_line(exchange, job, strategy, state, witness)
    line["bytes"] = {
        "down": state.bytes_down + exchange.bytes_down,
        "up": state.bytes_up + exchange.bytes_up,
    }
    line["seconds"] = round(time.monotonic() - started, 3)
    return state, line


def _without(
    strategy: Strategy, state: RunState, declined: Mapping[str, str], number: int
) -> RunState:
    """Sites that will not train from round ``number`` on; where they said so before, since then."""
    news = {site: (number, why) for site, why in declined.items()}
    learnt = strategy.without(state.learnt, list(declined)) if declined else state.learnt
    return replace(state, learnt=learnt, evaluate_only={**news, **state.evaluate_only})


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
