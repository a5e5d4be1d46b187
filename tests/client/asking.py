"""Requests to one site's handlers, as a server sends them, and what its ledger holds after."""

from __future__ import annotations

from dataclasses import replace

import yaml
from flwr.app import Message, RecordDict

from client import app as client_app
from client.entries import E, of_kind
from client.init import init_ledger
from client.site import Site
from common.config import Experiment
from common.messages import TrainRequest
from common.models import build_model
from common.parameters import arrays_of
from simulations.flower import become_server, give_message_id, node_context


def request(experiment: Experiment, number: int = 1) -> TrainRequest:
    arrays = arrays_of(build_model(experiment, seed=0))
    return TrainRequest("run", number, experiment, arrays)


def send(kind: str, content: RecordDict, site: Site) -> RecordDict:
    become_server()
    message = Message(content, dst_node_id=2, message_type=kind)
    give_message_id(message)
    return client_app.app(message, node_context(2, str(site.folder))).content


def refusal(content: RecordDict) -> object:
    return content.config_records["config"].get("refusal")


def held(site: Site, kind: type[E]) -> list[E]:
    return of_kind(site.ledger().read().entries, kind)


def set_policy(site: Site, **changes: object) -> Site:
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text())
    values["policy"] |= changes
    path.write_text(yaml.safe_dump(values))
    return Site.open(site.folder)


def begin_again(site: Site, **data: object) -> Site:
    """The site with other settings of its data, and a ledger that was begun with them."""
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text()) | {"genesis": None}
    values["ledger_dir"] = str(site.folder / "another")
    values["data"] |= data
    path.write_text(yaml.safe_dump(values))
    init_ledger(Site.open(site.folder))
    return Site.open(site.folder)


def personal_request(experiment: Experiment, number: int = 1) -> TrainRequest:
    strategy = replace(experiment.strategy, name="ditto", proximal=0.5)
    asked = request(replace(experiment, strategy=strategy), number)
    return replace(asked, personal={k: v + 1 for k, v in asked.arrays.items()})
