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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from flwr.app import RecordDict
from flwr.serverapp import Grid

from common.data.split import Part
from common.errors import IncompleteRunError, JoinError, MessageError, ModelError
from common.histograms import Histograms
from common.messages import (
    Answer,
    Description,
    EvaluateAnswer,
    EvaluateRequest,
    Request,
    TrainAnswer,
    TrainRequest,
)
from common.metrics import Counts, figures
from common.parameters import Arrays, check_arrays
from common.statement import PrivacyStatement, ReleaseStatement
from server.exchange import Exchange, Replies
from server.job import Job, Outcome
from server.state import RunState, commit
from server.strategies import STRATEGIES, Models, Strategy
from server.witness import Witness

A = TypeVar("A", Description, TrainAnswer, EvaluateAnswer)

MAX_FAILED_ROUNDS = 3
"""Rounds in a row that may fail before the run gives up."""

BY_ITS_OWN_RULES = ("policy", "budget")
"""Codes of a site that will not train any more in this run, and still evaluates."""


def run_rounds(grid: Grid, job: Job) -> Outcome:
    """Run (or resume) a whole job over ``grid``.

    Raises:
        JoinError: where a site refuses to take part.
        IncompleteRunError: where the sites do not come, or several rounds in a row fail.
        CheckpointError: where a run to resume is damaged or another experiment's.
    """
    started = time.monotonic()
    exchange = Exchange(grid, job.deadline_seconds, job.registered)
    witness = Witness(job.witness or job.output_dir / "witness.json")
    descriptions = _meet(exchange, job, witness)
    job.progress.described(descriptions)

    strategy = STRATEGIES.get(job.experiment.strategy.name)()
    state = RunState.load(job) if job.resume else None
    if state is None:
        state = RunState.fresh(job, strategy, list(exchange.nodes))
    declined = {s: d.evaluate_only for s, d in descriptions.items() if d.evaluate_only}
    state = _without(state, declined, state.server_round + 1)
    failed = 0
    while state.server_round < job.experiment.rounds and set(exchange.nodes) - set(
        state.evaluate_only
    ):
        state, line = _one_round(exchange, job, strategy, state, witness)
        commit(job, state, line)
        job.progress.round_done(line)
        failed = 0 if line["applied"] else failed + 1
        if failed == MAX_FAILED_ROUNDS:
            raise IncompleteRunError(
                f"{failed} rounds in a row had too few answers: {line['refused']}"
            )
    train_seconds = time.monotonic() - started

    final = _final_evaluation(exchange, job, state, witness)
    return Outcome(
        descriptions=descriptions,
        models=state.models,
        test_counts=final.counts,
        test_histograms=final.histograms,
        statements=final.statements,
        releases=final.releases,
        evaluate_only=state.evaluate_only,
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
    met = _witnessed(exchange.meet(greeting, job.num_sites, job.wait_seconds), job, witness)
    refused = dict(met.refused)
    if not refused and all(d.evaluate_only for d in met.answers.values()):
        refused = {s: f"evaluates only: {d.evaluate_only}" for s, d in met.answers.items()}
    if refused:
        refusals = "; ".join(f"{node}: {reason}" for node, reason in sorted(refused.items()))
        raise JoinError(f"{len(refused)} of {job.num_sites} sites cannot join: {refusals}")
    return met.answers


def _one_round(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState, witness: Witness
) -> tuple[RunState, dict[str, Any]]:
    started = time.monotonic()
    number = state.server_round + 1
    requests = {  # 1
        site: TrainRequest(
            job.run_id, number, job.experiment, state.models[strategy.model_for(site)]
        )
        for site in exchange.nodes
        if site not in state.evaluate_only
    }
    expected = next(iter(state.models.values()))
    replies = exchange.ask("train", requests, partial(_train_answer, expected=expected))  # 6
    replies = _witnessed(replies, job, witness)
    declined = {s: why for s, why in replies.declined.items() if why in BY_ITS_OWN_RULES}
    state = _without(state, declined, number)
    training = len(requests) - len(declined)
    quorum = job.quorum if job.quorum is not None else training // 2 + 1
    applied = len(replies.answers) >= quorum
    models = state.models
    if applied:
        models = strategy.aggregate_train(models, list(replies.answers.values()))  # 7
    line: dict[str, Any] = {
        "round": number,
        "applied": applied,
        "answered": list(replies.answers),
        "refused": dict(replies.refused),
        "dropped": exchange.take_dropped(),
        "evaluate_only": {site: why for site, (_, why) in state.evaluate_only.items()},
        "validation": None,
    }
    if applied and (number % job.evaluate_every == 0 or number == job.experiment.rounds):
        line["validation"] = _validation(exchange, job, strategy, models, number, witness)
    state = replace(
        state,
        server_round=number,
        rounds_applied=state.rounds_applied + applied,
        models=models,
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


def _witnessed(replies: Replies[A], job: Job, witness: Witness) -> Replies[A]:
    """Leave out each answer whose ledger is older than, or another than, the one seen."""
    answers, refused = dict(replies.answers), dict(replies.refused)
    for site, answer in replies.answers.items():
        if not answer.chain and not _needs_ledger(answer, job):
            continue
        try:
            witness.observe(site, answer.chain, _fresh_statement(answer))
        except MessageError as error:
            refused[site] = str(error)
            del answers[site]
    witness.save()
    return Replies(answers, refused, replies.declined)


def _needs_ledger(answer: Answer, job: Job) -> bool:
    """Whether an answer must show its ledger: under privacy, unless the site will not train."""
    declines = isinstance(answer, Description) and bool(answer.evaluate_only)
    return job.experiment.privacy.enabled and not declines


def _fresh_statement(answer: Description | TrainAnswer | EvaluateAnswer) -> PrivacyStatement | None:
    """The statement of an answer that was made just now; stored ones may be sent again later."""
    if isinstance(answer, TrainAnswer):
        return None
    if isinstance(answer, EvaluateAnswer) and answer.histograms is not None:
        return None
    return answer.privacy


def _train_answer(content: RecordDict, expected: Arrays) -> TrainAnswer:
    answer = TrainAnswer.unpack(content)
    try:
        check_arrays(answer.arrays, expected)
    except ModelError as error:
        raise MessageError(str(error)) from error
    return answer


def _evaluate(
    exchange: Exchange,
    job: Job,
    models: Mapping[str, Arrays],
    number: int,
    part: Part,
    witness: Witness,
) -> Replies[EvaluateAnswer]:
    """Have each site score the model that ``models`` names for it."""
    classes, multi_label = len(job.experiment.classes), job.experiment.multi_label
    requests = {
        site: EvaluateRequest(job.run_id, number, job.experiment, arrays, part)
        for site, arrays in models.items()
    }
    replies = exchange.ask(
        "evaluate",
        requests,
        lambda content: EvaluateAnswer.unpack(content, classes, multi_label),
    )
    return _witnessed(replies, job, witness)


def _validation(
    exchange: Exchange,
    job: Job,
    strategy: Strategy,
    models: Models,
    number: int,
    witness: Witness,
) -> dict[str, Any]:
    """Figures on the validation part: pooled over the sites, and each site's own macro AUROC."""
    own = {site: models[strategy.model_for(site)] for site in exchange.nodes}
    replies = _evaluate(exchange, job, own, number, "validation", witness)
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


@dataclass
class _Final:
    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    histograms: dict[str, dict[str, Histograms]] = field(default_factory=dict)
    statements: dict[str, PrivacyStatement] = field(default_factory=dict)
    releases: dict[str, ReleaseStatement] = field(default_factory=dict)
    unscored: list[str] = field(default_factory=list)


def _final_evaluation(exchange: Exchange, job: Job, state: RunState, witness: Witness) -> _Final:
    """Every model on every site's test patients, once, after the last round."""
    final = _Final()
    for name, arrays in state.models.items():
        everywhere = dict.fromkeys(exchange.nodes, arrays)
        replies = _evaluate(exchange, job, everywhere, state.server_round, "test", witness)
        for site, answer in replies.answers.items():
            if answer.counts is not None:
                final.counts.setdefault(name, {})[site] = answer.counts
            if answer.histograms is not None:
                final.histograms.setdefault(name, {})[site] = answer.histograms
            if answer.privacy is not None:
                final.statements[site] = answer.privacy
            if answer.release is not None:
                final.releases[site] = answer.release
        final.unscored += [
            f"{site} did not score the model '{name}': {why}"
            for site, why in replies.refused.items()
        ]
    return final


def _lacking(job: Job, state: RunState, sites: list[str]) -> list[str]:
    """Rounds that were not applied, and sites that no applied round heard of."""
    lines = []
    if state.rounds_applied < job.experiment.rounds:
        lines.append(f"{state.rounds_applied} of {job.experiment.rounds} rounds were applied")
    silent = sorted(set(sites) - set(state.heard) - set(state.evaluate_only))
    if silent:
        lines.append(f"no applied round has an answer of {', '.join(silent)}")
    return lines
