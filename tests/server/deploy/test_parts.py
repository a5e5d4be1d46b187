"""The coordinator's parts, each by itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.retry import http_retry
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResultStatus, TaskType

import fedrounds
from common.checks import parse_experiment
from common.config import Experiment
from common.errors import CheckpointError, SettingsError
from common.journal import Follower, append_line, read_lines
from common.messages import Description
from common.packing import pack
from common.processes import is_held, only_one
from server.deploy.delivery import attentive
from server.deploy.events import EVENTS, Events, describe
from server.deploy.jobfile import JOB_FILE, job_file, read_attempt, read_job, write_job
from server.deploy.options import ServerOptions, choose_sites, split_words
from server.deploy.superexec import ASKED_AGAIN, ServerAppExecutor
from server.job import Job, Silent
from server.provision.consortium import Consortium, utc_now
from simulations.flower import become_server, give_message_id


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    words = ["sites=[a,b,c]", "host=127.0.0.1", f"output_dir={tmp_path / 'made'}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    return Consortium.open(tmp_path / "made" / "coordinator")


def test_a_job_survives_its_file(experiment: Experiment, tmp_path: Path) -> None:
    job = Job(
        experiment, "run", 2, tmp_path, quorum=2, resume=True, witness=tmp_path / "w.json",
        deadline_seconds=3.5, pretrained="/w.pth", registered={2**63 + 5: "a", 7: "b"},
    )  # fmt: skip
    write_job(tmp_path / "job.json", job, "this start")
    read = read_job(tmp_path / "job.json", job.progress)
    assert read == job
    assert read_attempt(tmp_path / "job.json") == "this start"
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected the job of a run"):
        read_job(tmp_path / "job.json", Silent())


def test_a_serverapp_without_its_job_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB_FILE, raising=False)
    with pytest.raises(CheckpointError, match="fedrounds server"):
        job_file()


def test_events_are_followed_and_put_in_words(tmp_path: Path) -> None:
    follower = Follower(tmp_path / EVENTS)
    assert list(follower.new()) == []
    events = Events(tmp_path, "now")
    events.described({"a": Description("a", "run", 0, None, b"", "policy")})
    line = {"round": 1, "applied": False, "refused": {"b": "no answer in time"}, "dropped": ["c"]}
    events.round_done({**line, "validation": None, "seconds": 1.0})
    with (tmp_path / EVENTS).open("a") as stream:
        stream.write('{"half": ')  # it is still being written
    found = list(follower.new())
    assert [e["event"] for e in found] == ["joined", "round"]
    assert all(e["attempt"] == "now" for e in found)
    assert "only evaluates: policy" in describe(found[0], 3)
    words = describe(found[1], 3)
    assert "b left out: no answer in time" in words
    assert "round 1/3 not applied" in words
    assert list(follower.new()) == []
    with (tmp_path / EVENTS).open("a") as stream:
        stream.write('1}\n{"event": "x"}\n')
    assert [e.get("event") for e in follower.new()] == [None, "x"]


def test_how_a_serverapp_ended_is_written(tmp_path: Path) -> None:
    events = Events(tmp_path, "")
    events.ended(None)
    events.ended(SettingsError("wrong"))
    events.ended(KeyError("x"))
    ends = [(e["exit_code"], e["error"]) for e in read_lines(tmp_path / EVENTS)]
    assert ends == [(0, None), (2, "wrong"), (3, "'x'")]


class SlowGrid(Grid):
    """Node 2 answers at once, node 3 never, and looking for node 4's answer does not return."""

    def __init__(self) -> None:
        self.kinds: dict[str, Message] = {}
        self.never = threading.Event()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            self.kinds[give_message_id(message)] = message
        return [None if m.metadata.dst_node_id == 5 else i for i, m in self.kinds.items()]  # type: ignore[misc]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        (message,) = (self.kinds[message_id] for message_id in message_ids)
        if message.metadata.dst_node_id == 4:
            self.never.wait(30)
        if message.metadata.dst_node_id != 2:
            return []
        content = RecordDict({"config": ConfigRecord({"a": 1})})
        return [Message(pack(content), reply_to=message)]

    def set_run(self, run: object) -> None: ...
    @property
    def run(self) -> object: ...  # type: ignore[override]
    def create_message(self, *_: object) -> Message: ...  # type: ignore[empty-body,override]
    def get_node_ids(self) -> Iterable[int]:
        return []

    def send_and_receive(self, *_: object, **__: object) -> Iterable[Message]:  # type: ignore[override]
        raise AssertionError("replaced")


def test_a_deadline_holds_whatever_flower_does() -> None:
    become_server()
    grid = SlowGrid()
    messages = [Message(RecordDict(), node, "query") for node in (2, 3, 4, 5)]
    started = time.monotonic()
    replies = list(attentive(grid).send_and_receive(messages, timeout=1.0))
    assert 0.9 < time.monotonic() - started < 3
    assert [r.content.config_records["config"]["a"] for r in replies] == [1]
    grid.never.set()


def test_words_of_the_server_and_of_the_run() -> None:
    options, settings = split_words(["sites=[a,b]", "rounds=3", "proxy=false", "wait_seconds=1.5"])
    assert options == ServerOptions(False, 1.5, ("a", "b"))
    assert settings == ["rounds=3"]
    with pytest.raises(SettingsError, match="wait_seconds"):
        split_words(["wait_seconds=0"])


def test_sites_are_chosen_or_named_as_wrong(consortium: Consortium) -> None:
    registered = {1: "a", 2: "b"}
    assert choose_sites(ServerOptions(), registered, consortium) == registered
    assert choose_sites(ServerOptions(sites=("b",)), registered, consortium) == {2: "b"}
    for begun, nodes in ((("b",), {2: "b"}), (("b", "gone"), {2: "b"}), ((), registered)):
        assert choose_sites(ServerOptions(), registered, consortium, begun) == nodes
    with pytest.raises(SettingsError) as caught:
        choose_sites(ServerOptions(sites=("c", "d")), registered, consortium)
    assert "'c' has no registered key" in str(caught.value)
    assert "'d' is no site" in str(caught.value)
    with pytest.raises(SettingsError, match="no site has a registered key"):
        choose_sites(ServerOptions(), {}, consortium)


def test_the_status_of_a_server_that_does_not_run(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    run = consortium.folder / "runs" / "one"
    run.mkdir(parents=True)
    append_line(consortium.folder / "runs.jsonl", {"run_id": "x", "output_dir": str(run)})
    events = Events(run, "")
    scores = Description("b", "x", 0, None, evaluate_only="policy")
    events.described({"a": Description("a", "x", 0, None), "b": scores})
    events.ended(SettingsError("a wrong setting"))
    capsys.readouterr()
    assert fedrounds.main(["server", "status", str(consortium.folder), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert not status["running"]
    assert [s["registered"] for s in status["sites"]] == [False] * 3
    assert status["last_error"] == "a wrong setting"
    assert status["runs"][-1]["sites"] == ["a", "b"]
    assert status["runs"][-1]["evaluate_only"] == {"b": "policy"}
    assert status["certificate_expires"].endswith("Z")
    assert fedrounds.main(["server", "status", str(consortium.folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a wrong setting" in said
    assert "b (evaluates:" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected 'server COORDINATOR"),
        (["{}", "rounds=x"], "rounds: expected a whole number"),
        (["{}", "data=table"], "data.classes must be given"),
        (["{}", "sties=[a]"], "unknown setting 'sties'"),
        (["resume", "{}"], "server resume COORDINATOR RUN"),
        (["resume", "{}", "nowhere"], "expected a run's folder"),
        (["resume", "{}", "nowhere", "rounds=3"], "its own settings"),
    ],
)
def test_wrong_words_fail_before_anything_starts(
    words: list[str], said: str, consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(consortium.folder) for word in words]
    assert fedrounds.main(["server", *given]) == 2
    assert said in capsys.readouterr().err
    assert not (consortium.folder / "flower").exists()


def test_only_the_servers_own_bundle_is_run() -> None:
    executor = ServerAppExecutor()
    assert executor.get_eligible_capacity(set(TaskType)) == ({TaskType.SERVER_APP}, set())
    spec = ExecutionSpec(
        TaskType.SERVER_APP, "127.0.0.1:1", "token", False, "ca", False, None, False, 1, "f" * 64
    )
    assert executor.launch(spec).status is LaunchResultStatus.FAILED


def test_a_superlink_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_retry, "_RETRYABLE_STATUS_CODES", ASKED_AGAIN)  # as its process does
    answers = iter([httpx.Response(500), httpx.Response(200)])

    def ask() -> int:
        response = next(answers)
        response.request = httpx.Request("POST", "https://127.0.0.1/v1/runtime/acquire-task")
        return response.raise_for_status().status_code

    assert http_retry.make_simple_http_retry_invoker().invoke(ask) == 200


def test_a_second_server_for_one_folder_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "server.lock"
    assert not is_held(lock)
    with only_one(lock, "a server"):
        assert is_held(lock)
        with pytest.raises(SettingsError, match="runs already"), only_one(lock, "a server"):
            pass
    assert not is_held(lock)


def test_an_experiment_is_as_the_settings_say() -> None:
    from common.compose import load_settings
    from server.deploy.serve import shared_experiment

    settings = load_settings(["experiment=phantom", "rounds=7"], has_data=False)
    experiment = shared_experiment(settings)
    assert experiment.multi_label
    assert parse_experiment(experiment.to_yaml()) == experiment
    table = ["data=table", "data.classes=[x,y]", "privacy=patient"]
    assert not shared_experiment(load_settings(table, has_data=False)).multi_label


def test_certificates_that_have_ended_are_found_before_anything_starts(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Consortium, "certificate_expiry", lambda _: utc_now())
    assert fedrounds.main(["server", str(consortium.folder)]) == 2
    assert "provision renew" in capsys.readouterr().err
    assert not (consortium.folder / "flower").exists()
    events = [line["event"] for line in read_lines(consortium.folder / "audit.jsonl")]
    assert events[-2:] == ["started", "stopped"]
