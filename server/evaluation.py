"""Have the sites score models, and pool the counts that they answer with.

Every round (or every ``evaluate_every``): each site's validation part, a line for ``rounds.jsonl``.
Once, at the end: the sites' test patients. Which model a site scores is the strategy's to say.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from common.config import Experiment
from common.data.split import Part
from common.histograms import Histograms
from common.messages import EvaluateAnswer, EvaluateRequest
from common.metrics import Counts, OperatingPoint, figures
from common.metrics.bootstrap import Replicates, merge
from common.parameters import Arrays
from common.statement import PrivacyStatement, ReleaseStatement
from common.subgroups import SiteGroups
from server.exchange import Exchange, Replies
from server.job import Job
from server.state import RunState
from server.strategies import Strategy
from server.witness import Witness, witnessed


def _evaluate(
    exchange: Exchange,
    job: Job,
    models: Mapping[str, Arrays],
    number: int,
    part: Part,
    witness: Witness,
    temperature: float = 1.0,
) -> Replies[EvaluateAnswer]:
    """Have each site score the model that ``models`` names for it."""
    requests = {
        site: EvaluateRequest(job.run_id, number, job.experiment, arrays, part, temperature)
        for site, arrays in models.items()
    }
    replies = exchange.ask(
        "evaluate",
        requests,
        lambda content: EvaluateAnswer.unpack(content, job.experiment, part),
    )
    return witnessed(replies, job, witness)


def validation_line(
    exchange: Exchange,
    job: Job,
    strategy: Strategy,
    state: RunState,
    witness: Witness,
) -> dict[str, Any]:
    """Figures on the validation part: pooled over the sites, and each site's own.

    Where a strategy has several sets of figures, the others stand by name beside the first one's.
    """
    lines: list[dict[str, Any]] = []
    models, number = state.learnt.models, state.server_round
    scorings = strategy.validated(list(exchange.nodes), state.heard)
    for scored in scorings.values():
        own = {site: models[model] for site, model in scored.items()}
        replies = _evaluate(exchange, job, own, number, "validation", witness)
        counts = {site: a.counts for site, a in replies.answers.items() if a.counts is not None}
        by_site = {site: _summary(c, job) for site, c in counts.items()}
        pooled = _summary(pool(counts), job) if counts else None
        lines.append({"pooled": pooled, "sites": by_site})
    return {**lines[0], **dict(zip(list(scorings)[1:], lines[1:], strict=True))}


def _summary(counts: Counts, job: Job) -> dict[str, float | None]:
    values = figures(counts, job.experiment.classes)
    return {
        name: values[name]["value"] for name in ("auroc_macro", "balanced_accuracy", "log_loss")
    }


def pool(counts: Mapping[str, Counts]) -> Counts:
    """Add the counts of at least one site, in the order of their names."""
    return reduce(operator.add, (counts[site] for site in sorted(counts)))


def pool_replicates(
    counts: Mapping[str, Counts], replicates: Mapping[str, Replicates]
) -> Counts | None:
    """Add the b-th replicates of some sites, for each b; ``None`` where none were asked for."""
    if not replicates:
        return None
    return merge([(replicates[site], counts[site]) for site in sorted(counts)])


def pool_groups(
    counts: Mapping[str, Counts],
    told: Mapping[str, SiteGroups],
    column: str,
    experiment: Experiment,
) -> Iterator[tuple[str, Counts]]:
    """Add each group of a column over the sites that have an image in it, one after the other.

    Yields:
        Its name, and counts with an axis of draws first: the group itself, then its replicates.
    """
    shown = [site for site in sorted(counts) if column in told[site].groups]
    nobody = Counts.zero(len(experiment.classes), experiment.multi_label, 1)
    for place, name in enumerate(experiment.evaluation.subgroups[column].names):
        parts = [(told[site].groups[column][place], counts[site]) for site in shown]
        present = [(group, counted) for group, counted in parts if group.cells[0].any()]
        yield name, merge(present) if present else nobody


@dataclass
class FinalEvaluation:
    """What the sites answered on their test patients.

    Attributes:
        scored: names of the sets of figures that were asked for.
        unscored: who did not answer, and why.
    """

    scored: list[str] = field(default_factory=list)
    points: dict[str, OperatingPoint] = field(default_factory=dict)
    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    replicates: dict[str, dict[str, Replicates]] = field(default_factory=dict)
    histograms: dict[str, dict[str, Histograms]] = field(default_factory=dict)
    subgroups: dict[str, dict[str, SiteGroups]] = field(default_factory=dict)
    statements: dict[str, PrivacyStatement] = field(default_factory=dict)
    releases: dict[str, ReleaseStatement] = field(default_factory=dict)
    unscored: list[str] = field(default_factory=list)


def final_evaluation(
    exchange: Exchange, job: Job, strategy: Strategy, state: RunState, witness: Witness
) -> FinalEvaluation:
    """What the strategy has scored on the sites' test patients, once, after the last round.

    Before that an operating point is fitted for each set of figures, on the validation patients
    of the sites whose model is scored.
    """
    final, models, sites = FinalEvaluation(), state.learnt.models, list(exchange.nodes)
    number, own = state.server_round, strategy.validated(sites, state.heard).values()
    for name, scored in strategy.tested(sites, state.heard).items():
        final.scored.append(name)
        asked = {site: models[model] for site, model in scored.items()}
        fitted = [s for s, model in scored.items() if any(v.get(s) == model for v in own)]
        point = _fit(exchange, job, {s: asked[s] for s in fitted}, number, witness)
        if point is not None:
            final.points[name] = point
        temperature = 1.0 if point is None else point.temperature
        replies = _evaluate(exchange, job, asked, number, "test", witness, temperature)
        for site, answer in replies.answers.items():
            if answer.counts is not None:
                final.counts.setdefault(name, {})[site] = answer.counts
            if answer.replicates is not None:
                final.replicates.setdefault(name, {})[site] = answer.replicates
            if answer.histograms is not None:
                final.histograms.setdefault(name, {})[site] = answer.histograms
            final.subgroups.setdefault(name, {})[site] = answer.subgroups
            if answer.privacy is not None:
                final.statements[site] = answer.privacy
            if answer.release is not None:
                final.releases[site] = answer.release
        final.unscored += [
            f"{site} did not score the model '{name}': {why}"
            for site, why in replies.refused.items()
        ]
    return final


def _fit(
    exchange: Exchange, job: Job, models: Mapping[str, Arrays], number: int, witness: Witness
) -> OperatingPoint | None:
    """Fit thresholds and temperature to the validation part.

    Under privacy nothing is fitted: what is fitted goes out with the model, and nothing prices
    what it says of the validation patients.
    """
    if job.experiment.privacy.enabled or not models:
        return None
    replies = _evaluate(exchange, job, models, number, "validation", witness)
    counts = {site: a.counts for site, a in replies.answers.items() if a.counts is not None}
    pooled = pool(counts) if counts else None
    if pooled is None or not pooled.labels:
        return None
    return OperatingPoint.fit(pooled, job.experiment.evaluation)
