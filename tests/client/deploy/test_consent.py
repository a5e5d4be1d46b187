"""Runs are shown, approved and refused; nothing else is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from flwr.app import Context, Message

from client.app import build_client_app
from client.deploy.approvals import approval_path, approvals, decide, read_approval
from client.deploy.consent import consent_mod
from client.packed import packing_mod
from client.site import Site
from common.config import Experiment
from common.errors import SettingsError
from common.journal import read_lines
from common.messages import EvaluateRequest, Request, TrainRequest
from common.models import build_model
from common.packing import pack, unpack
from common.parameters import arrays_of
from simulations.flower import become_server, give_message_id, node_context
from tests.conftest import train_ids

RUN = "run/with spaces"


@pytest.fixture
def member(make_site: Callable[..., Site]) -> Callable[..., Site]:
    """A site with a start-up kit."""

    def make(approve: str = "auto") -> Site:
        site = make_site(dict.fromkeys(train_ids(8), 1), public_patients=8)
        facts = {"name": "c", "host": "h", "port": 1, "site": site.name, "approve": approve}
        (site.folder / "consortium.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
        return site

    become_server()
    return make


def send(
    site: Site, request: Request, kind: str = "query", ttl: float = 600.0, packed: bool = True
) -> str:
    """What a site answers: the code of its refusal, or nothing."""
    app = build_client_app(mods=[packing_mod, consent_mod(site.folder)])
    content = request.pack()
    message = Message(pack(content) if packed else content, 2, kind, ttl=ttl)
    give_message_id(message)
    context: Context = node_context(2, str(site.folder))
    answer = app(message, context).content
    answer = unpack(answer) if packed else answer
    return str(answer.config_records["config"].get("refusal", ""))


def requests(experiment: Experiment) -> dict[str, Request]:
    arrays = arrays_of(build_model(experiment, seed=0))
    return {
        "query": Request(RUN, 0, experiment),
        "train": TrainRequest(RUN, 1, experiment, arrays),
        "evaluate": EvaluateRequest(RUN, 1, experiment, arrays, "validation"),
    }


def test_a_run_is_approved_by_policy_with_its_price(
    member: Callable[..., Site], experiment: Experiment
) -> None:
    site, asked = member(), requests(experiment)
    assert [send(site, asked[k], k) for k in ("query", "train", "evaluate")] == ["", "", ""]
    approval = read_approval(approval_path(site.folder, RUN))
    assert (approval.decision, approval.by) == ("approved", "policy")
    assert approval.epsilon_run is not None
    assert 0 < approval.epsilon_run <= 8
    assert "ε =" in approval.words()
    lines = read_lines(site.folder / "audit.jsonl")
    assert [line["event"] for line in lines] == ["run approved"]


def test_what_was_not_approved_is_not_answered(
    member: Callable[..., Site], experiment: Experiment
) -> None:
    site, asked = member(), requests(experiment)
    assert send(site, asked["train"], "train") == "policy"
    assert send(site, asked["evaluate"], "evaluate") == "policy"
    assert send(site, asked["query"]) == ""
    other = requests(replace(experiment, local_steps=4))
    assert send(site, other["train"], "train") == "policy"  # not the experiment that was approved
    decide(site.folder, RUN[:5], "refused", "me")
    assert send(site, asked["train"], "train") == "policy"  # a site can change its mind
    assert not (site.folder / "answers").exists()


def test_a_person_is_asked_and_approves(
    member: Callable[..., Site], experiment: Experiment
) -> None:
    site = member("ask")

    def approve() -> None:
        while not approvals(site.folder):
            time.sleep(0.05)
        decide(site.folder, "run", "approved", "me")

    person = threading.Thread(target=approve)
    person.start()
    assert send(site, requests(experiment)["query"]) == ""
    person.join()
    assert approvals(site.folder)[0].by == "me"
    assert send(site, requests(experiment)["query"]) == ""  # a run that goes on is not asked again


def test_nobody_answers_in_time(member: Callable[..., Site], experiment: Experiment) -> None:
    site = member("ask")
    assert send(site, requests(experiment)["query"], ttl=5.5) == "policy"
    assert approvals(site.folder)[0].decision == "asked"


def test_a_refused_run_stays_refused(member: Callable[..., Site], experiment: Experiment) -> None:
    site = member()
    assert send(site, requests(experiment)["query"]) == ""
    decide(site.folder, RUN, "refused", "me")
    assert send(site, requests(experiment)["query"]) == "policy"


def test_an_unknown_run_cannot_be_decided(member: Callable[..., Site]) -> None:
    with pytest.raises(SettingsError, match="no one run"):
        decide(member().folder, "none", "approved", "me")


def test_what_is_not_packed_is_answered_in_kind(
    member: Callable[..., Site], experiment: Experiment
) -> None:
    site = member()
    assert send(site, requests(experiment)["query"], packed=False) == ""


def test_an_error_of_the_consent_itself_leaves_as_a_code(
    member: Callable[..., Site], experiment: Experiment
) -> None:
    site: Site = member()
    (site.folder / "consortium.yaml").unlink()
    assert send(site, requests(experiment)["query"]) == "settings"
    assert "consortium.yaml" in (site.folder / "errors.jsonl").read_text()


def test_a_path_of_the_run_id_stays_inside(tmp_path: Path) -> None:
    path = approval_path(tmp_path, "../../etc/passwd")
    assert path.parent == tmp_path / "approvals"
