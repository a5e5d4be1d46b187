"""The handlers: intent before training, public constants alone, and errors as codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from client import app as client_app
from client.entries import Commit, Genesis, Intent, Plan, Release
from client.privacy.optimizer import PatientOptimizer
from client.site import Site
from common.config import Experiment
from common.data.layouts import read_manifest
from common.data.manifest import Manifest
from common.errors import MessageError
from common.messages import (
    Answer,
    Description,
    EvaluateAnswer,
    EvaluateRequest,
    Request,
    TrainAnswer,
)
from common.models import build_model
from common.parameters import arrays_of
from common.wire import to_bytes
from simulations.flower import become_server, give_message_id, node_context
from tests.client.asking import (
    begin_again,
    held,
    refusal,
    request,
    send,
    set_policy,
)
from tests.conftest import train_ids

MakeSite = Callable[..., Site]


def test_models_travel_in_half_precision_where_the_experiment_says_so(
    experiment: Experiment, site: Site
) -> None:
    """Under privacy: what is rounded was noised before."""
    strategy = replace(experiment.strategy, wire="float16")
    half = replace(experiment, strategy=strategy)
    content = send("train", request(half).pack(), site)
    dtypes = {array.numpy().dtype.name for array in content.array_records["arrays"].values()}
    assert dtypes == {"float16"}
    arrays = TrainAnswer.unpack(content, wire="float16").arrays
    assert {value.dtype.name for value in arrays.values()} == {"float32"}
    with pytest.raises(MessageError, match="has dtype float16, expected float32"):
        TrainAnswer.unpack(content)
    wrong = request(half).pack()
    wrong["arrays"] = request(experiment).pack()["arrays"]
    assert refusal(send("train", wrong, site)) == MessageError.code


def test_a_private_round_leaves_plan_intent_commit_and_disclosure(
    site: Site, experiment: Experiment
) -> None:
    answer = TrainAnswer.unpack(send("train", request(experiment).pack(), site))
    assert answer.num_examples == 20.0
    entries = site.ledger().read().entries
    assert [type(e) for e in entries] == [Genesis, Plan, Intent, Commit]
    assert held(site, Plan)[0].charge.steps == experiment.total_steps
    assert held(site, Intent)[0].steps == experiment.local_steps
    line = json.loads((site.folder / "disclosure.jsonl").read_text())
    assert line["covered_by"] == "ledger"


def test_training_that_crashes_is_spent(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("P1 is in this text")

    monkeypatch.setattr(client_app, "train_private", crash)
    content = send("train", request(experiment).pack(), site)
    assert content.config_records["config"] == {"refusal": "error"}
    assert [i.steps for i in held(site, Intent)] == [experiment.local_steps]
    assert not held(site, Commit)
    assert "P1 is in this text" in (site.folder / "errors.jsonl").read_text()


def test_without_a_ledger_nothing_trains(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.folder / "ledger.sqlite").write_bytes(b"damaged" * 100)
    trained: list[object] = []
    monkeypatch.setattr(client_app, "train_private", lambda *_: trained.append(1))
    content = send("train", request(experiment).pack(), site)
    assert content.config_records["config"] == {"refusal": "ledger"}
    assert not trained


def test_arrays_of_another_model_are_refused_before_the_ledger(
    site: Site, experiment: Experiment
) -> None:
    bad = replace(request(experiment), arrays={"w": np.zeros(3, np.float32)})
    content = send("train", bad.pack(), site)
    assert content.config_records["config"] == {"refusal": "model"}
    assert not held(site, Plan)


def test_test_counts_come_with_the_ledgers_statement(site: Site, experiment: Experiment) -> None:
    train = request(experiment)
    send("train", train.pack(), site)
    asked = EvaluateRequest("run", 1, experiment, train.arrays, "test")
    answer = EvaluateAnswer.unpack(send("evaluate", asked.pack(), site), experiment, asked.part)
    assert answer.counts is not None
    assert answer.privacy is not None
    assert answer.privacy.steps == experiment.total_steps  # a plan is spent once it is begun
    assert answer.privacy.epsilon == answer.privacy.epsilon_run
    assert answer.privacy.unit == "patient"


def test_nothing_of_the_site_stands_in_an_answer_under_privacy(
    site: Site, experiment: Experiment
) -> None:
    """Names of files, folders and patients never cross, nor does any number of them."""
    content = send("train", request(experiment).pack(), site)
    assert set(content) == {"config", "arrays", "metrics", "ledger"}
    assert set(content.config_records["ledger"]) == {"chain"}
    assert set(content.config_records["config"]) == {"site", "run-id", "server-round"}
    assert dict(content.metric_records["metrics"]) == {"num-examples": 20.0}
    text = repr([dict(r) for r in content.config_records.values()])
    assert str(site.folder) not in text
    assert train_ids(1)[0] not in text


def test_the_answer_is_the_same_for_one_patient_more(
    make_site: MakeSite, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """n against n + 1: noise level, q, denominator, steps, ε and weight follow the public count."""
    ids = train_ids(9)
    answers = []
    denominators: list[float] = []
    original = PatientOptimizer.noisy_step

    def noisy_step(self: PatientOptimizer) -> None:
        denominators.append(self.denominator)
        original(self)

    monkeypatch.setattr(PatientOptimizer, "noisy_step", noisy_step)
    for name, count in (("one", 8), ("two", 9)):
        site = make_site(dict.fromkeys(ids[:count], 1), name, public_patients=20)
        answer = TrainAnswer.unpack(send("train", request(experiment).pack(), site))
        description = Description.unpack(send("query", Request("run", 0, experiment).pack(), site))
        answers.append((answer.num_examples, description.privacy, held(site, Plan)))
    assert answers[0] == answers[1]
    assert denominators == [experiment.strategy.batch_size] * 2 * experiment.local_steps


def test_a_request_that_is_no_request_is_refused(site: Site) -> None:
    content = send("train", RecordDict(), site)
    assert content.config_records["config"] == {"refusal": "message"}


def test_an_interpolation_is_refused_and_not_answered(site: Site, experiment: Experiment) -> None:
    content = request(experiment).pack()
    text = str(content.config_records["config"]["experiment"])
    content.config_records["config"]["experiment"] = text.replace("test", "${oc.env:HOME}", 1)
    assert send("train", content, site).config_records["config"] == {"refusal": "settings"}


def test_release_none_gives_no_counts(make_site: MakeSite, experiment: Experiment) -> None:
    site = make_site(dict.fromkeys(train_ids(5), 1), public_patients=20)
    set_policy(site, release_metrics="none")
    arrays = arrays_of(build_model(experiment, seed=0))
    asked = EvaluateRequest("run", 1, experiment, arrays, "validation")
    answer = EvaluateAnswer.unpack(send("evaluate", asked.pack(), site), experiment, asked.part)
    assert answer.counts is None
    assert not (site.folder / "disclosure.jsonl").exists()


def test_an_answer_names_its_site(site: Site, experiment: Experiment) -> None:
    asked = Request("run", 0, experiment)
    assert Answer.unpack(send("query", asked.pack(), site)) == Answer("clinic", "run", 0)


def test_without_a_patient_column_no_patient_level_claim_is_made(
    site: Site, experiment: Experiment
) -> None:
    site = begin_again(site, patient_column=None)
    description = Description.unpack(send("query", Request("run", 0, experiment).pack(), site))
    assert (description.evaluate_only, description.privacy) == ("policy", None)
    assert refusal(send("train", request(experiment).pack(), site)) == "policy"
    assert not held(site, Plan)


def test_scores_of_training_patients_never_leave(site: Site, experiment: Experiment) -> None:
    arrays = arrays_of(build_model(experiment, seed=0))
    asked = EvaluateRequest("run", 1, experiment, arrays, "train")
    assert send("evaluate", asked.pack(), site).config_records["config"] == {"refusal": "message"}


def test_the_unit_is_what_the_site_says_its_ids_identify(
    site: Site, experiment: Experiment
) -> None:
    before = (site.folder / "site.yaml").read_text()
    lesions = begin_again(site, unit_name="lesion")
    answer = Description.unpack(send("query", Request("run", 0, experiment).pack(), lesions))
    assert answer.privacy is not None
    assert answer.privacy.unit == "lesion"
    (site.folder / "site.yaml").write_text(
        before.replace("patient_column: patient", "patient_column: file")
    )
    assert (
        refusal(send("train", request(experiment).pack(), site)) == "ledger"
    )  # sides would change


def test_no_path_of_the_site_leaves_with_an_error(site: Site, experiment: Experiment) -> None:
    missing = replace(site, folder=site.folder / "gone")
    content = send("train", request(experiment).pack(), missing)
    assert content.config_records["config"] == {"refusal": "settings"}


def test_unreadable_images_are_found_before_the_first_round(
    site: Site, experiment: Experiment
) -> None:
    image = next(p for p in site.folder.parent.rglob("*.png"))
    image.write_bytes(b"no image")
    content = send("query", Request("run", 0, experiment).pack(), site)
    assert Description.unpack(content).evaluate_only == ""  # the others train
    assert image.name in (site.folder / "log.jsonl").read_text()
    assert image.name not in str(content)
    for other in site.folder.parent.rglob("*.png"):
        other.write_bytes(b"no image")
    content = send("query", Request("run", 0, experiment).pack(), site)
    assert content.config_records["config"] == {"refusal": "data"}


def test_a_site_that_describes_itself_reads_its_table_once(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counted(*words: Any, **named: Any) -> Manifest:
        read.append(words)
        return read_manifest(*words, **named)

    monkeypatch.setattr("common.data.kept_tables.read_manifest", counted)
    content = send("query", Request("run", 0, experiment).pack(), site)
    assert Description.unpack(content).evaluate_only == ""
    assert len(read) == 1


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"epsilon_max": 2.0, "delta": 1e-3}, "budget"),
        ({"models": ["resnet18"]}, "policy"),
        ({"max_grad_norm": 0.01}, "policy"),
        ({"delta": 1e-4}, "policy"),
        ({"public_patients": 1000}, "policy"),
        ({"public_patients": None}, "policy"),
    ],
)
def test_what_passes_the_policy_is_refused_before_a_batch_is_read(
    policy: dict[str, object],
    code: str,
    site: Site,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_app, "train_private", lambda *_: pytest.fail("trained"))
    site = set_policy(site, **policy)
    description = Description.unpack(send("query", Request("run", 0, experiment).pack(), site))
    assert description.evaluate_only == code
    assert refusal(send("train", request(experiment).pack(), site)) == code
    assert [type(e) for e in site.ledger().read().entries] == [Genesis]
    arrays = request(experiment).arrays
    asked = EvaluateRequest("run", 0, experiment, arrays, "test")
    assert (
        EvaluateAnswer.unpack(send("evaluate", asked.pack(), site), experiment, asked.part).counts
        is not None
    )


def test_the_image_is_no_unit_where_patients_are_known(site: Site, experiment: Experiment) -> None:
    """It would also end every later run of the site: units never mix."""
    images = replace(experiment, privacy=replace(experiment.privacy, unit="image"))
    assert refusal(send("train", request(images).pack(), site)) == "policy"
    assert not held(site, Plan)


def test_a_withheld_class_is_not_found_by_asking_for_another_kind_of_task(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site(dict.fromkeys(train_ids(8), 1), public_patients=20, min_count=10)
    for data in (
        replace(experiment.data, multi_label=True),
        replace(experiment.data, classes=("a", "c"), negative_label="b"),
    ):
        asked = replace(experiment, data=data)
        arrays = arrays_of(build_model(asked, seed=0))
        test = EvaluateRequest("run", 1, asked, arrays, "test")
        assert refusal(send("evaluate", test.pack(), site)) == "policy"


def test_with_a_public_list_of_classes_no_answer_says_who_has_which_label(
    site: Site, experiment: Experiment
) -> None:
    """Whether a class occurs cannot be found by leaving it out of what is asked."""
    site = set_policy(site, classes=["a", "b"])
    for classes in (("a", "c"), ("b", "c"), ("c", "d")):
        asked = replace(experiment, data=replace(experiment.data, classes=classes))
        described = Description.unpack(send("query", Request("run", 0, asked).pack(), site))
        assert described.evaluate_only == "policy"
        test = EvaluateRequest("run", 1, asked, request(asked).arrays, "test")
        assert refusal(send("evaluate", test.pack(), site)) == "policy"


def test_an_update_is_in_the_disclosure_log_before_it_could_leave(
    site: Site, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(client_app, "store_answer", killed)
    send("train", request(experiment).pack(), site)
    assert "model update" in (site.folder / "disclosure.jsonl").read_text()


def test_a_node_without_a_sites_folder_writes_nowhere(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    become_server()
    message = Message(request(experiment).pack(), dst_node_id=2, message_type="train")
    give_message_id(message)
    assert refusal(client_app.app(message, node_context(2, "")).content) == "settings"
    assert not list(tmp_path.iterdir())


def test_noised_counts_leave_once_and_are_listed(site: Site, experiment: Experiment) -> None:
    site = set_policy(site, release_metrics="noised", delta=1e-3, evaluation_epsilon=4.0)
    arrays = request(experiment).arrays
    test = EvaluateRequest("run", 2, experiment, arrays, "test")
    first = send("evaluate", test.pack(), site)
    answer = EvaluateAnswer.unpack(first, experiment, "test")
    assert answer.counts is None
    assert answer.histograms is not None
    assert answer.histograms.noise_std > 0
    assert to_bytes(send("evaluate", test.pack(), site)) == to_bytes(first)  # no second draw
    for part, number in (("validation", 2), ("test", 3)):
        asked = EvaluateRequest("run", number, experiment, arrays, part)  # type: ignore[arg-type]
        again = EvaluateAnswer.unpack(send("evaluate", asked.pack(), site), experiment, asked.part)
        assert (again.counts, again.histograms) == (None, None)
    assert len(held(site, Release)) == 1
    line = json.loads((site.folder / "disclosure.jsonl").read_text())
    assert line["covered_by"] == "ledger: the test patients' own budget"
    assert "noised positives of a by score, of patients" in line["released"]


def test_small_classes_are_withheld_and_every_exact_figure_is_listed(
    make_site: MakeSite, experiment: Experiment
) -> None:
    site = make_site({f"T{i}": 1 for i in range(60)}, public_patients=40, min_count=10_000)
    asked = EvaluateRequest("run", 1, experiment, request(experiment).arrays, "test")
    answer = EvaluateAnswer.unpack(send("evaluate", asked.pack(), site), experiment, asked.part)
    assert answer.counts is not None
    assert not answer.counts.positives.any()
    assert not answer.counts.negatives.any()
    line = json.loads((site.folder / "disclosure.jsonl").read_text())
    assert line["withheld"] == ["a", "b"]
    assert line["covered_by"].startswith("nothing")
