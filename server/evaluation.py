"""Have the sites score models, and pool the counts that they answer with.

Every round (or every ``evaluate_every``): each site's validation part, a line for ``rounds.jsonl``.
Once, at the end: the sites' test patients. Which model a site scores is the strategy's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.data.split import Part
from common.histograms import Histograms
from common.messages import EvaluateAnswer, EvaluateRequest
from common.metrics import Counts, figures
from common.parameters import Arrays
from common.statement import PrivacyStatement, ReleaseStatement
from server.exchange import Exchange, Replies
from server.job import Job
from server.state import RunState
from server.strategies import Models, Strategy
from server.witness import Witness, witnessed


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
    return witnessed(replies, job, witness)


def validation_line(
    exchange: Exchange,
    job: Job,
    strategy: Strategy,
    models: Models,
    number: int,
    witness: Witness,
) -> dict[str, Any]:
    """Figures on the validation part: pooled over the sites, and each site's own.

    Where a strategy has several sets of figures, the others stand by name beside the first one's.
    """
    lines: list[dict[str, Any]] = []
    scorings = strategy.validated(list(exchange.nodes))
    for scored in scorings.values():
        own = {site: models[model] for site, model in scored.items()}
        replies = _evaluate(exchange, job, own, number, "validation", witness)
        counts = {site: a.counts for site, a in replies.answers.items() if a.counts is not None}
        by_site = {site: _summary(c, job) for site, c in counts.items()}
        pooled = _summary(pool(counts, job), job) if counts else None
        lines.append({"pooled": pooled, "sites": by_site})
    return {**lines[0], **dict(zip(list(scorings)[1:], lines[1:], strict=True))}


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
class FinalEvaluation:
    """What the sites answered on their test patients; ``unscored`` says who did not, and why."""

    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    histograms: dict[str, dict[str, Histograms]] = field(default_factory=dict)
    statements: dict[str, PrivacyStatement] = field(default_factory=dict)
    releases: dict[str, ReleaseStatement] = field(default_factory=dict)
    unscored: list[str] = field(default_factory=list)


def final_evaluation(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState, witness: Witness
) -> FinalEvaluation:
    """What the strategy has scored on the sites' test patients, once, after the last round."""
    final, models = FinalEvaluation(), state.learnt.models
    for name, scored in strategy.tested(list(exchange.nodes)).items():
        own = {site: models[model] for site, model in scored.items()}
        replies = _evaluate(exchange, job, own, state.server_round, "test", witness)
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
