"""The loop against sites that misbehave, and against interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from client.entries import Intent, of_kind
from client.site import Site
from common.errors import CheckpointError, IncompleteRunError, JoinError
from common.messages import pack_refusal
from common.parameters import to_record
from server.job import Job
from server.results import build_result, check_complete
from server.rounds import run_rounds
from server.state import begun_sites
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts

Tamper = Callable[[RecordDict], None]
Folders = Callable[..., tuple[Cohorts, list[Path]]]


class TamperingGrid(InProcessGrid):
    """Node 2's train answers pass through ``tamper``."""

    def __init__(self, sites: Iterable[Path], tamper: Tamper, twice: bool = False) -> None:
        super().__init__(sites, None)
        self.tamper = tamper
        self.twice = twice

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = []
        for reply in super().send_and_receive(messages, timeout=timeout):
            if reply.metadata.message_type == "train" and reply.metadata.src_node_id == 2:
                self.tamper(reply.content)
                replies += [reply] if self.twice else []
            replies.append(reply)
        return replies


@pytest.fixture
def job(site_folders: Folders, tmp_path: Path) -> Callable[..., tuple[Job, list[Path]]]:
    def make(*overrides: str) -> tuple[Job, list[Path]]:
        prepared, folders = site_folders(*overrides)
        output = tmp_path / "out"
        output.mkdir(exist_ok=True)
        return Job(prepared.experiment, "run", len(folders), output), folders

    become_server()
    return make


def lines(job: Job) -> list[dict[str, object]]:
    return [json.loads(t) for t in (job.output_dir / "rounds.jsonl").read_text().splitlines()]


def replace_array(value: np.ndarray) -> Tamper:  # type: ignore[type-arg]
    def tamper(content: RecordDict) -> None:
        arrays = {k: a.numpy() for k, a in content.array_records["arrays"].items()}
        content["arrays"] = to_record({**arrays, "head.bias": value})

    return tamper


def set_weight(value: float) -> Tamper:
    return lambda content: content.metric_records.update(
        {"metrics": MetricRecord({"num-examples": value})}
    )


def set_config(key: str, value: object) -> Tamper:
    return lambda content: content.config_records["config"].update({key: value})  # type: ignore[dict-item]


def empty(content: RecordDict) -> None:
    content["arrays"] = ArrayRecord({})


def refuse(content: RecordDict) -> None:
    content["config"] = ConfigRecord(dict(pack_refusal("policy").config_records["config"]))


def refuse_data(content: RecordDict) -> None:
    content["config"] = ConfigRecord(dict(pack_refusal("data").config_records["config"]))


BAD: dict[str, tuple[Tamper, str]] = {
    "nan": (replace_array(np.full(2, np.nan, np.float32)), "NaN"),
    "infinity": (replace_array(np.full(2, np.inf, np.float32)), "infinity"),
    "shape": (replace_array(np.zeros((2, 1), np.float32)), "shape"),
    "broadcastable": (replace_array(np.zeros(1, np.float32)), "shape"),
    "dtype": (replace_array(np.zeros(2, np.float64)), "float64"),
    "nothing": (empty, "missing"),
    "negative weight": (set_weight(-79.0), "num-examples"),
    "huge weight": (set_weight(1e12), "num-examples"),
    "zero weight": (set_weight(0.0), "num-examples"),
    "nan weight": (set_weight(float("nan")), "num-examples"),
    "wrong round": (set_config("server-round", 7), "round 7"),
    "wrong run": (set_config("run-id", "other"), "'other'"),
    "another's name": (set_config("site", "southgate"), "in the name of 'southgate'"),
    "a path for a name": (set_config("site", "../../evil"), "site: expected"),
    "refusal": (refuse, "refused: policy"),
    "foreign code": (set_config("refusal", "patient Smith has cancer"), "unknown code"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_dropped_by_itself(
    name: str, job: Callable[..., tuple[Job, list[Path]]]
) -> None:
    tamper, reason = BAD[name]
    this, folders = job("rounds=1")
    this = replace(this, quorum=1)
    outcome = run_rounds(TamperingGrid(folders, tamper), this)
    (line,) = lines(this)
    assert line["answered"] == ["southgate"]
    assert reason in line["refused"]["northfield"]  # type: ignore[index]
    assert "Smith" not in json.dumps(line)
    assert line["applied"]
    assert all(np.isfinite(a).all() for a in outcome.models["shared"].values())


def test_a_second_answer_of_one_node_is_counted_once(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=1")
    once = run_rounds(InProcessGrid(folders, None), this)
    twice = run_rounds(TamperingGrid(folders, lambda _: None, twice=True), this)
    for name, value in once.models["shared"].items():
        assert value.tobytes() == twice.models["shared"][name].tobytes()


class ShuffledGrid(InProcessGrid):
    """Replies arrive in this order of nodes."""

    order: tuple[int, ...] = ()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = {
            r.metadata.src_node_id: r for r in super().send_and_receive(messages, timeout=timeout)
        }
        return [replies[node] for node in self.order]


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_answers_are_summed_in_the_order_of_their_sites_names(
    order: tuple[int, ...], job: Callable[..., tuple[Job, list[Path]]]
) -> None:
    this, folders = job("rounds=1")
    grid = ShuffledGrid(folders, None)
    grid.order = order
    run_rounds(grid, this)
    assert lines(this)[0]["answered"] == ["northfield", "southgate"]


def test_below_the_quorum_a_round_is_not_applied_and_says_so(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=2")
    with pytest.raises(IncompleteRunError, match="no round was applied, of 2: northfield: "):
        run_rounds(TamperingGrid(folders, set_weight(-1.0)), this)
    assert [line["applied"] for line in lines(this)] == [False, False]
    released = (folders[1] / "disclosure.jsonl").read_text().splitlines()
    assert len(released) == 2  # two updates, and nobody scores what nobody trained


def test_a_run_whose_rounds_all_fail_gives_up(job: Callable[..., tuple[Job, list[Path]]]) -> None:
    this, folders = job("rounds=9")
    with pytest.raises(IncompleteRunError, match="3 rounds in a row"):
        run_rounds(TamperingGrid(folders, set_weight(-1.0)), this)


def test_missing_sites_are_waited_for_and_then_named(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=1")
    with pytest.raises(IncompleteRunError, match="expected 3 sites within 0 s, 2 came"):
        run_rounds(InProcessGrid(folders, None), replace(this, num_sites=3, wait_seconds=0.1))


class InterruptingGrid(InProcessGrid):
    """Stops as Ctrl-C would, after some exchanges."""

    def __init__(self, sites: Iterable[Path], after: int) -> None:
        super().__init__(sites, None)
        self.left = after

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().send_and_receive(messages, timeout=timeout)


@pytest.mark.parametrize("after", [2, 3, 4])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    after: int, job: Callable[..., tuple[Job, list[Path]]], tmp_path: Path
) -> None:
    this, folders = job("rounds=3")
    whole = run_rounds(InProcessGrid(folders, None), this)
    cut = replace(this, output_dir=tmp_path / "cut")
    cut.output_dir.mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, after), cut)
    with (cut.output_dir / "rounds.jsonl").open("a") as stream:
        stream.write('{"round": 3, "appl')  # a line that was being written
    resumed = run_rounds(InProcessGrid(folders, None), replace(cut, resume=True))
    assert [line["round"] for line in lines(cut)] == [1, 2, 3]
    for name, value in whole.models["shared"].items():
        assert value.tobytes() == resumed.models["shared"][name].tobytes()
    assert resumed.rounds_applied == 3
    assert whole.earlier_seconds == 0 < whole.train_seconds
    assert (resumed.earlier_seconds > 0) == (after > 2)  # the first round takes two exchanges
    assert resumed.earlier_seconds < resumed.train_seconds


def test_a_run_goes_on_with_the_sites_that_it_was_begun_with(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=2")
    alone = replace(this, num_sites=1)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders[:1], 3), alone)
    assert begun_sites(this.output_dir) == ("northfield",)
    assert begun_sites(this.output_dir / "sites") == ()  # no run of any
    with pytest.raises(JoinError, match="begun by northfield, and southgate came too"):
        run_rounds(InProcessGrid(folders, None), replace(this, resume=True))
    assert (
        run_rounds(InProcessGrid(folders[:1], None), replace(alone, resume=True)).rounds_applied
        == 2
    )


def intents(folder: Path) -> list[Intent]:
    return of_kind(Site.open(folder).ledger().read().entries, Intent)


def test_an_interrupted_private_run_gets_the_answers_that_were_stored(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    """Round 2 was trained, and not yet evaluated: its bytes come again, and cost nothing."""
    this, folders = job("rounds=3", "privacy=patient")
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, 4), this)
    outcome = run_rounds(InProcessGrid(folders, None), replace(this, resume=True))
    assert outcome.rounds_applied == 3
    assert outcome.incomplete == ()
    for folder in folders:
        assert [i.server_round for i in intents(folder)] == [1, 2, 3]
    for statement in outcome.statements.values():
        assert statement.steps == this.experiment.total_steps
        assert statement.epsilon_run <= 8


def test_a_round_cut_off_in_training_is_spent_and_the_run_says_what_it_lacks(
    job: Callable[..., tuple[Job, list[Path]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    this, folders = job("rounds=3", "privacy=patient")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    alone = replace(this, num_sites=1)
    with monkeypatch.context() as patch:
        patch.setattr("client.app.store_answer", killed)
        with pytest.raises(KeyboardInterrupt):
            run_rounds(InProcessGrid(folders[:1], None), alone)
    outcome = run_rounds(InProcessGrid(folders[:1], None), replace(alone, resume=True))
    assert outcome.rounds_applied == 2
    assert outcome.incomplete == ("2 of 3 rounds were applied",)
    assert outcome.evaluate_only == {"northfield": (3, "budget")}
    assert outcome.statements["northfield"].epsilon_run <= 8


def test_a_site_whose_cap_is_reached_evaluates_on_and_the_result_says_when_and_why(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job(
        "rounds=6", "privacy=patient", "privacy.epsilon=null", "privacy.noise_multiplier=0.9"
    )
    path = folders[0] / "site.yaml"
    values = yaml.safe_load(path.read_text())
    values["policy"] |= {"epsilon_max": 9.5, "delta": 1e-5}
    path.write_text(yaml.safe_dump(values))
    outcome = run_rounds(InProcessGrid(folders, None), this)
    number, why = outcome.evaluate_only["northfield"]
    assert (1 < number <= 6, why) == (True, "budget")
    assert outcome.rounds_applied == 6
    assert outcome.incomplete == ()
    assert outcome.statements["northfield"].epsilon <= 9.5 < outcome.statements["southgate"].epsilon
    assert len(intents(folders[0])) == number - 1
    told = [line["evaluate_only"] for line in lines(this)]
    assert told == [{}] * (number - 1) + [{"northfield": "budget"}] * (7 - number)
    assert lines(this)[-1]["validation"]["sites"].keys() == {"northfield", "southgate"}  # type: ignore[index]
    result = build_result(this, outcome, {}, 0.0)
    assert result["sites"][0]["evaluate_only"] == {"from_round": number, "reason": "budget"}
    assert result["sites"][1]["evaluate_only"] is None


def test_when_no_site_may_train_nothing_starts(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("privacy=patient", "privacy.epsilon_max=0.5")
    with pytest.raises(JoinError, match="evaluates only: budget"):
        run_rounds(InProcessGrid(folders, None), this)
    assert not intents(folders[0])


def test_a_site_that_fails_in_the_end_is_not_called_unprivate(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=1", "privacy=patient")

    class Failing(InProcessGrid):
        def send_and_receive(
            self, messages: Iterable[Message], *, timeout: float | None = None
        ) -> Iterable[Message]:
            replies = list(super().send_and_receive(messages, timeout=timeout))
            if replies[0].content.config_records.get("privacy") and "counts" in replies[0].content:
                replies[0].content["config"] = pack_refusal("data").config_records["config"]
            return replies

    outcome = run_rounds(Failing(folders, None), this)
    assert "northfield did not score the model 'shared': refused: data" in outcome.incomplete
    result = build_result(this, outcome, {}, 0.0)
    sources = {site["name"]: site["privacy"]["source"] for site in result["sites"]}
    assert sources == {"northfield": "plan", "southgate": "ledger"}
    with pytest.raises(IncompleteRunError, match="northfield"):
        check_complete(result["incomplete"])


def test_a_site_that_never_contributed_makes_the_run_incomplete(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=2")
    outcome = run_rounds(TamperingGrid(folders, refuse_data), replace(this, quorum=1))
    assert outcome.incomplete == ("no applied round has an answer of northfield",)
    assert outcome.evaluate_only == {}


def test_another_experiments_checkpoint_is_refused(
    job: Callable[..., tuple[Job, list[Path]]],
) -> None:
    this, folders = job("rounds=1")
    run_rounds(InProcessGrid(folders, None), this)
    other = replace(this, experiment=replace(this.experiment, seed=9), resume=True)
    with pytest.raises(CheckpointError, match="another"):
        run_rounds(InProcessGrid(folders, None), other)
