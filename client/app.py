"""The ClientApp: three thin handlers, the same under every engine.

A round at a site, numbered as the design numbers it:
    2. unpack the request; check its arrays against the site's own model, and what it asks
       against the site's policy
    3. price the round and write the intent (``ledger.py``)
    4. draw patients, train, clip, noise (``privacy/training.py``)
    5. commit, log the disclosure, pack the answer

Nothing is kept in memory between messages: a deployed Flower client is a new process for each.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from client.cohort import Cohort
from client.disclosure import log_release
from client.evaluation import evaluate
from client.plan import reserved_plan, round_charge, statement_of_ledger, statement_of_plan
from client.privacy.training import train_private
from client.site import Site
from client.training import train_plain
from common.errors import FedroundsError
from common.messages import (
    Answer,
    Description,
    EvaluateAnswer,
    EvaluateRequest,
    Request,
    TrainAnswer,
    TrainRequest,
    pack_refusal,
)
from common.models import build_model
from common.parameters import arrays_of, load_arrays

log = logging.getLogger("fedrounds.client")

Handler = Callable[[RecordDict, Site], Answer]

SITE_KEY = "site"
"""Key of the node's own configuration that names the site's folder."""


def build_client_app(mods: list[Mod] | None = None) -> ClientApp:
    """The ClientApp; an engine may add mods that say which site a node is."""
    app = ClientApp()
    app.query(mods=mods)(_answering(handle_describe))
    app.train(mods=mods)(_answering(handle_train))
    app.evaluate(mods=mods)(_answering(handle_evaluate))
    return app


def handle_describe(content: RecordDict, site: Site) -> Description:
    """Whether this site can take part, and what the run would cost it."""
    request = Request.unpack(content)
    experiment, run_id = request.experiment, request.run_id
    statement = statement_of_plan(site, experiment, run_id) if experiment.privacy.enabled else None
    Cohort.load(site, experiment, "train")  # images that cannot be read are found before round 1
    return Description(site.name, run_id, request.server_round, statement)


def handle_train(content: RecordDict, site: Site) -> TrainAnswer:
    """Train on the site's own images for one round."""
    request = TrainRequest.unpack(content)  # 2
    experiment, run_id, server_round = request.experiment, request.run_id, request.server_round
    torch.set_num_threads(experiment.threads)
    model = build_model(experiment)
    load_arrays(model, request.arrays)
    cohort = Cohort.load(site, experiment, "train")
    if experiment.privacy.enabled:
        plan = reserved_plan(site, experiment, run_id)
        charge = round_charge(site, plan, experiment, run_id)
        site.ledger().write_intent(run_id, server_round, charge)  # 3
        public = site.public_patients()
        train_private(
            model, cohort, experiment, charge, plan.sample_rate * public, server_round
        )  # 4
        weight = float(public)
        site.ledger().write_commit(run_id, server_round, charge)
    else:
        train_plain(model, cohort, experiment, site.name, server_round)  # 4
        weight = float(len(cohort.rows))
    released = "model update, weight"
    log_release(site.folder, run_id, server_round, released, experiment.privacy.enabled)  # 5
    return TrainAnswer(site.name, run_id, server_round, arrays_of(model), weight)


def handle_evaluate(content: RecordDict, site: Site) -> EvaluateAnswer:
    """Score a model on one part of the site's patients; counts leave only as the policy says."""
    request = EvaluateRequest.unpack(content)
    experiment, run_id, server_round = request.experiment, request.run_id, request.server_round
    torch.set_num_threads(experiment.threads)
    model = build_model(experiment)
    load_arrays(model, request.arrays)
    counts = None
    if site.settings.policy.release_metrics == "exact":
        counts = evaluate(model, Cohort.load(site, experiment, request.part), experiment)
        log_release(site.folder, run_id, server_round, f"counts of {request.part} scores", False)
    statement = None
    if request.part == "test" and experiment.privacy.enabled:
        statement = statement_of_ledger(site, experiment, run_id)
    return EvaluateAnswer(site.name, run_id, server_round, counts, statement)


def _answering(handler: Handler) -> Callable[[Message, Context], Message]:
    """Open the site's folder, run a handler, and answer; an error leaves as its code alone."""

    def answer(message: Message, context: Context) -> Message:
        folder = Path(str(context.node_config.get(SITE_KEY, "")))
        try:
            content = handler(message.content, Site.open(folder)).pack()
        except Exception as error:  # its text may hold data or a path: it stays here
            code = error.code if isinstance(error, FedroundsError) else FedroundsError.code
            _log_error(folder, message, code, error)
            content = pack_refusal(code)
        return Message(content, reply_to=message)

    return answer


def _log_error(folder: Path, message: Message, code: str, error: Exception) -> None:
    """Keep an error's text at the site, in ``errors.jsonl``."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "asked": message.metadata.message_type,
        "code": code,
        "text": str(error),
        "traceback": traceback.format_exception(error),
    }
    log.error("%s refused: %s", message.metadata.message_type, code)
    with suppress(OSError), (folder / "errors.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


app = build_client_app()
