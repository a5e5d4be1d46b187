"""The ClientApp: three thin handlers, the same under every engine.

A round at a site, numbered as the design numbers it:
    2. unpack the request; check its arrays against the site's own model, and what it asks
       against the site's policy
    3. price the round and write the intent (``charging.py``, ``ledger.py``)
    4. draw patients, train, clip, noise (``privacy/training.py``)
    5. pack the answer, log the disclosure, store the bytes and commit (``answers.py``), send

Nothing that a message says is kept in memory for the next: a deployed Flower client is a new
process for each. A simulation's worker keeps the tables that it read (``kept_tables.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from client.answers import store_answer, stored_answer
from client.charging import charge_round, price_run, state_privacy, state_release
from client.cohort import Cohort
from client.disclosure import EXACT, LEDGER, log_error, log_release
from client.drift import Drift
from client.evaluation import evaluate
from client.packed import packing_mod
from client.privacy.guard import refuse_leaking_modules
from client.privacy.training import train_private
from client.release import noised_release
from client.site import Site
from client.site_images import SiteImages
from client.subgroups import statuses
from client.training import train_plain
from common.config import Experiment
from common.errors import FedroundsError, PolicyError, SettingsError
from common.messages import (
    Description,
    EvaluateAnswer,
    EvaluateRequest,
    Request,
    TrainAnswer,
    TrainRequest,
    pack_refusal,
)
from common.models import build_model
from common.parameters import Arrays, arrays_of, load_arrays, trained_names
from common.subgroups import SiteGroups

log = logging.getLogger("fedrounds.client")

Handler = Callable[[RecordDict, Site], RecordDict]
Trainings = Sequence[tuple[nn.Module, Drift]]
"""What is trained in one round, one after the other."""

SITE_KEY = "site"
"""Key of the node's own configuration that names the site's folder."""


def build_client_app(mods: list[Mod] | None = None) -> ClientApp:
    """The ClientApp; an engine may add mods that say which site a node is."""
    app = ClientApp()
    app.query(mods=mods)(_answering(handle_describe))
    app.train(mods=mods)(_answering(handle_train))
    app.evaluate(mods=mods)(_answering(handle_evaluate))
    return app


def handle_describe(content: RecordDict, site: Site) -> RecordDict:
    """Whether this site trains or only evaluates, and what the run would cost it."""
    request = Request.unpack(content)
    experiment, run_id = request.experiment, request.run_id
    statement, chain, evaluate_only = None, b"", ""
    try:
        site.check(experiment)
        if experiment.privacy.enabled:
            statement, chain = price_run(site, experiment, run_id)
            evaluate_only = "" if statement.steps else "budget"
    except PolicyError as error:  # the site still evaluates
        log_error(site.folder, "query", error)
        evaluate_only = error.code
    if not evaluate_only:  # images that cannot be read are found before round 1
        images = SiteImages.load(site, experiment)
        Cohort.of(images, "train")
        images.note_duplicates()
    return Description(
        site.name, run_id, request.server_round, statement, chain, evaluate_only
    ).pack()


def handle_train(content: RecordDict, site: Site) -> RecordDict:
    """Train on the site's own images for one round."""
    request = TrainRequest.unpack(content)  # 2
    site.check(request.experiment)
    experiment, trainings = request.experiment, _trainings(request)
    if experiment.privacy.enabled:
        return stored_answer(site, request) or _train_private(request, trainings, site)
    cohort = Cohort.load(site, experiment, "train")
    for model, drift in trainings:
        train_plain(model, cohort, experiment, site.name, request.server_round, drift)  # 4
    log_release(site.folder, request, [*_updates(trainings), "number of training images"], EXACT)
    return _trained(request, trainings, site, float(len(cohort.rows))).pack()  # 5


def _train_private(request: TrainRequest, trainings: Trainings, site: Site) -> RecordDict:
    experiment, public = request.experiment, float(site.public_patients())
    for model, _ in trainings:
        refuse_leaking_modules(model, experiment.data.channels, experiment.data.image_size)
    cohort = Cohort.load(site, experiment, "train")
    charge, chain = charge_round(site, request)  # 3
    denominator = charge.sample_rate * public
    each = replace(charge, steps=charge.steps // len(trainings))
    for model, drift in trainings:
        train_private(
            model, cohort, experiment, each, denominator, request.server_round, drift
        )  # 4
    answer = _trained(request, trainings, site, public, chain).pack()
    # Logged before it can leave: a crash in between must not let out what no line tells.
    log_release(site.folder, request, [*_updates(trainings), "public count of patients"], LEDGER)
    store_answer(site, request, answer)  # 5
    return answer


def _trainings(request: TrainRequest) -> Trainings:
    """The model that is shared, and the site's own where there is one: each with its drift.

    Each starts from what was sent, and is held to the shared model as it was sent.
    """
    strategy, sent = request.experiment.strategy, request.arrays
    proximal = 0.0 if strategy.trains_personal else strategy.proximal
    shared = _model(request.experiment, sent), Drift.of(proximal, sent, request.correction)
    if request.personal is None:
        return [shared]
    return [
        shared,
        (_model(request.experiment, request.personal), Drift.of(strategy.proximal, sent)),
    ]


def _trained(
    request: TrainRequest, trainings: Trainings, site: Site, weight: float, chain: bytes = b""
) -> TrainAnswer:
    shared, *personal = (_trained_arrays(model) for model, _ in trainings)
    return TrainAnswer(
        site.name,
        request.run_id,
        request.server_round,
        shared,
        weight,
        chain,
        personal[0] if personal else None,
        request.experiment.strategy.wire,
    )


def _trained_arrays(model: nn.Module) -> Arrays:
    """What is sent back: the server has all that is frozen."""
    trained = trained_names(model)
    return {name: value for name, value in arrays_of(model).items() if name in trained}


def _updates(trainings: Trainings) -> list[str]:
    """What leaves, by name."""
    return ["model update", "personal model"][: len(trainings)]


def handle_evaluate(content: RecordDict, site: Site) -> RecordDict:
    """Score a model on one part of the site's patients; what leaves is the policy's to say."""
    request = EvaluateRequest.unpack(content)
    experiment, policy = request.experiment, site.settings.policy
    site.check_task(experiment)
    model = _model(experiment, request.arrays)
    by_column = statuses(site, experiment.evaluation.subgroups_of(request.part))
    answer = EvaluateAnswer(site.name, request.run_id, request.server_round, None, None)
    if policy.release_metrics == "exact":
        shown = [column for column, status in by_column.items() if status == "shown"]
        answer = _with_exact(answer, request, site, model, shown)
    elif policy.release_metrics == "noised" and request.part == "test":
        stored = stored_answer(site, request)
        if stored is not None:
            return stored
        answer = replace(answer, histograms=noised_release(site, request, model))
    answer = replace(answer, subgroups=SiteGroups(by_column, answer.subgroups.groups))
    packed = _with_ledger(answer, request, site).pack()
    if answer.histograms is not None:
        store_answer(site, request, packed)
    return packed


def _with_exact(
    answer: EvaluateAnswer,
    request: EvaluateRequest,
    site: Site,
    model: nn.Module,
    shown: list[str],
) -> EvaluateAnswer:
    """The answer with exact counts, where the site has a patient in that part; they are logged."""
    experiment = request.experiment
    cohort = Cohort.load(site, experiment, request.part)
    draw = site.draw(request.part) if experiment.evaluation.replicates_of(request.part) else None
    least = site.settings.policy.min_count
    exact = evaluate(model, cohort, experiment, least, request.temperature, draw, shown)
    if exact is None:
        return answer
    names = exact.names(experiment.classes)
    log_release(site.folder, request, names, EXACT, exact.withheld_names())
    groups = SiteGroups({}, exact.packed_groups())
    return replace(answer, counts=exact.counts, replicates=exact.replicates, subgroups=groups)


def _with_ledger(answer: EvaluateAnswer, request: EvaluateRequest, site: Site) -> EvaluateAnswer:
    """The answer with the ledger's hashes, and with the test part what it says was spent."""
    if site.settings.genesis is not None:
        book = site.ledger().read()
        answer = replace(answer, chain=book.chain)
        if answer.histograms is not None:
            answer = replace(answer, release=state_release(book.entries, site))
    if request.experiment.privacy.enabled and request.part == "test":
        statement = state_privacy(site, request.experiment, request.run_id)
        answer = replace(answer, privacy=statement)
    return answer


def _model(experiment: Experiment, arrays: Arrays) -> nn.Module:
    """The site's own model with the server's arrays in it."""
    torch.set_num_threads(experiment.threads)
    model = build_model(experiment)
    load_arrays(model, arrays)
    return model


def _answering(handler: Handler) -> Callable[[Message, Context], Message]:
    """Open the site's folder, run a handler, and answer; an error leaves as its code alone."""

    def answer(message: Message, context: Context) -> Message:
        named = str(context.node_config.get(SITE_KEY, ""))
        if not named:
            log.error("the node's configuration names no site's folder (key '%s')", SITE_KEY)
            return Message(pack_refusal(SettingsError.code), reply_to=message)
        folder = Path(named)
        try:
            content = handler(message.content, Site.open(folder))
        except Exception as error:  # its text may hold data or a path: it stays here
            log_error(folder, message.metadata.message_type, error)
            code = error.code if isinstance(error, FedroundsError) else FedroundsError.code
            log.error("%s refused: %s", message.metadata.message_type, code)
            content = pack_refusal(code)
        return Message(content, reply_to=message)

    return answer


app = build_client_app(mods=[packing_mod])
