"""What a run is charged at a site: its plan, its rounds, the caps of its policy and of a life."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from client import app as client_app
from client.budget import spent
from client.entries import Intent, Plan
from client.plan import planned_charge
from client.site import Site
from common.config import Experiment
from common.errors import PolicyError, PrivacyError
from common.messages import Description, Request, TrainAnswer
from tests.client.asking import held, personal_request, refusal, request, send, set_policy


def test_a_run_cannot_pass_its_plan(site: Site, experiment: Experiment) -> None:
    for number in (1, 2):
        send("train", request(experiment, number).pack(), site)
    content = send("train", request(experiment, 3).pack(), site)
    assert content.config_records["config"] == {"refusal": "budget"}
    assert sum(i.steps for i in held(site, Intent)) == experiment.total_steps


def test_the_description_states_the_plans_price(site: Site, experiment: Experiment) -> None:
    asked = Request("run", 0, experiment)
    description = Description.unpack(send("query", asked.pack(), site))
    assert description.site == "clinic"
    assert description.privacy is not None
    assert description.privacy.steps == experiment.total_steps
    assert 7 < description.privacy.epsilon_run <= 8
    assert not held(site, Plan)  # asking costs nothing


def test_plans_that_cannot_hold_are_refused(experiment: Experiment) -> None:
    with pytest.raises(PolicyError, match=r"at most 1 / \(10"):
        planned_charge(experiment, 1000, "patient")
    with pytest.raises(PolicyError, match="batch_size"):
        planned_charge(experiment, 3, "patient")
    noisy = replace(experiment, privacy=replace(experiment.privacy, noise_multiplier=0.4))
    with pytest.raises(PrivacyError, match="costs"):
        planned_charge(noisy, 20, "patient")
    given = replace(noisy, privacy=replace(noisy.privacy, epsilon=None))
    assert planned_charge(given, 20, "patient").noise_multiplier == 0.4


def test_training_without_privacy_is_refused_beside_a_ledger(
    site: Site, experiment: Experiment
) -> None:
    """What it gives is bounded by no ε: a ledger that went on would state a figure all the same."""
    plain = replace(experiment, privacy=replace(experiment.privacy, unit="none", epsilon=None))
    assert refusal(send("train", request(plain).pack(), site)) == "policy"
    site = set_policy(site, train_without_privacy=True)
    assert refusal(send("train", request(plain).pack(), site)) == "policy"
    path = site.folder / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"genesis": None}))
    assert refusal(send("train", request(plain).pack(), site)) is None


def test_a_policy_that_was_tightened_holds_for_the_next_round(
    site: Site, experiment: Experiment
) -> None:
    assert refusal(send("train", request(experiment, 1).pack(), site)) is None
    sigma = held(site, Plan)[0].charge.noise_multiplier
    site = set_policy(site, min_noise_multiplier=sigma + 1)
    assert refusal(send("train", request(experiment, 2).pack(), site)) == "policy"
    site = set_policy(site, min_noise_multiplier=0.0, epsilon_max=1.0, delta=1e-3)
    assert refusal(send("train", request(experiment, 2).pack(), site)) == "budget"
    assert len(held(site, Intent)) == 1


def test_a_spent_life_budget_leaves_the_federation_going(
    site: Site, experiment: Experiment
) -> None:
    send("train", request(experiment).pack(), site)
    life = replace(experiment, privacy=replace(experiment.privacy, epsilon_life=7.0))
    description = Description.unpack(send("query", Request("new", 0, life).pack(), site))
    assert description.evaluate_only == "budget"


def test_a_planned_sigma_is_raised_to_the_sites_least(site: Site, experiment: Experiment) -> None:
    site = set_policy(site, min_noise_multiplier=5.0)
    send("train", request(experiment).pack(), site)
    assert held(site, Plan)[0].charge.noise_multiplier == 5.0


def test_a_life_budget_is_calibrated_over_what_the_ledger_holds(
    site: Site, experiment: Experiment
) -> None:
    send("train", request(experiment).pack(), site)
    life = replace(experiment, privacy=replace(experiment.privacy, epsilon_life=9.0))
    asked = replace(request(life), run_id="second")
    assert refusal(send("train", asked.pack(), site)) is None
    first, second = held(site, Plan)
    assert second.charge.noise_multiplier > first.charge.noise_multiplier
    assert 8.9 < spent(site.ledger().read().entries, 1e-3).epsilon <= 9.0


def test_ditto_takes_twice_the_steps_and_all_of_them_are_in_the_plan(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    train = client_app.train_private

    def counted(*words: Any) -> None:
        taken.append(words[3].steps)
        train(*words)

    monkeypatch.setattr(client_app, "train_private", counted)
    asked = personal_request(experiment)
    steps = 2 * asked.experiment.total_steps
    query = Request("run", 0, asked.experiment)
    described = Description.unpack(send("query", query.pack(), site))
    assert described.privacy is not None
    assert described.privacy.steps == steps
    for number in (1, 2):
        content = send("train", personal_request(experiment, number).pack(), site)
        answer = TrainAnswer.unpack(content, personal=True)
        assert answer.personal is not None
        assert {k: v.shape for k, v in answer.personal.items()} == {
            k: v.shape for k, v in answer.arrays.items()
        }
    assert held(site, Plan)[0].charge.steps == steps == sum(i.steps for i in held(site, Intent))
    assert taken == [asked.experiment.local_steps] * 4
    assert spent(site.ledger().read().entries, 1e-3).epsilon <= 8
    assert refusal(send("train", personal_request(experiment, 3).pack(), site)) == "budget"
    line = json.loads((site.folder / "disclosure.jsonl").read_text().splitlines()[0])
    assert line["released"][:2] == ["model update", "personal model"]


def test_a_second_model_that_no_plan_has_priced_is_not_trained(
    site: Site, experiment: Experiment
) -> None:
    sly = replace(request(experiment), personal=request(experiment).arrays)
    content = send("train", sly.pack(), site)
    assert "personal" not in content
    assert [i.steps for i in held(site, Intent)] == [experiment.local_steps]
