"""Stored answers: sent again at no cost, for the same request alone, and never when altered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client import app as client_app
from client.entries import Intent
from client.site import Site
from common.config import Experiment
from common.wire import to_bytes
from tests.client.asking import held, refusal, request, send


def test_the_same_request_gets_the_same_bytes_and_costs_nothing(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = to_bytes(send("train", request(experiment).pack(), site))
    monkeypatch.setattr(client_app, "train_private", lambda *_: pytest.fail("trained again"))
    assert to_bytes(send("train", request(experiment).pack(), site)) == first
    assert len(held(site, Intent)) == 1


def test_another_request_for_the_same_round_is_a_new_priced_round(
    site: Site, experiment: Experiment
) -> None:
    first = request(experiment)
    arrays = {name: value + 1 for name, value in first.arrays.items()}
    answers = [
        to_bytes(send("train", asked.pack(), site))
        for asked in (first, replace(first, arrays=arrays))
    ]
    assert answers[0] != answers[1]
    assert [i.steps for i in held(site, Intent)] == [experiment.local_steps] * 2
    third = replace(first, arrays={name: value + 2 for name, value in first.arrays.items()})
    assert refusal(send("train", third.pack(), site)) == "budget"  # the plan was two rounds


def test_a_stored_answer_that_was_altered_is_not_sent(site: Site, experiment: Experiment) -> None:
    send("train", request(experiment).pack(), site)
    [path] = (site.folder / "answers").iterdir()
    stored = path.read_bytes()
    path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    assert refusal(send("train", request(experiment).pack(), site)) == "ledger"
    assert len(held(site, Intent)) == 1


def test_each_run_keeps_its_newest_answer_alone(site: Site, experiment: Experiment) -> None:
    for run_id, number in (("run", 1), ("run", 2), ("../../other", 1)):
        asked = replace(request(experiment, number), run_id=run_id)
        assert refusal(send("train", asked.pack(), site)) is None
    assert len(list((site.folder / "answers").iterdir())) == 2
    assert not (site.folder.parent.parent / "other").exists()
