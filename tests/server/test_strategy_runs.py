"""Every strategy end to end through the in-process engine, cut off, and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict

from common.compose import load_settings
from common.config import Experiment
from common.errors import IncompleteRunError, JoinError
from common.metrics import figures
from common.models import build_model
from common.parameters import arrays_of
from server.counts_file import read_counts, write_counts
from server.job import Job, Outcome
from server.results import build_result, write_model
from server.rounds import run_rounds
from server.state import RunState
from server.strategies import STRATEGIES, Models, build_strategy
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts, prepare_cohorts, write_site_folders
from tests.conftest import FAST
from tests.server.test_rounds import InterruptingGrid, TamperingGrid, lines, refuse_data, set_weight

PARTS = ("whole", "cut")
Five = tuple[Experiment, list[Path]]


@pytest.fixture(scope="module")
def five(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Five:
    """Five sites of some twenty patients each, without privacy: enough for one that lies."""
    folder = tmp_path_factory.mktemp("five")
    words = [f"data.root={hospitals}", "privacy=none", "partition=iid", "partition.sites=5"]
    cohorts = prepare_cohorts(
        load_settings([*FAST, *words, "model.width=4", "data.image_size=16"]), folder
    )
    become_server()
    return cohorts.experiment, write_site_folders(cohorts, folder / "sites")


def asked(experiment: Experiment, name: str) -> Experiment:
    """The strategy's own settings, as its file in ``conf/`` has them."""
    strategy = load_settings(["privacy=none", f"strategy={name}", "data.root=x"]).strategy
    return replace(experiment, strategy=replace(strategy, batch_size=8))


def bits(models: Models) -> dict[str, dict[str, bytes]]:
    return {m: {k: v.tobytes() for k, v in arrays.items()} for m, arrays in models.items()}


class Absent(TamperingGrid):
    """Node 2 refuses to train, now or from the start."""

    def __init__(self, sites: list[Path]) -> None:
        super().__init__(sites, refuse_data)


class EvaluatesOnly(InProcessGrid):
    """Node 2 says that it will not train."""

    def send_and_receive(
        self, messages: list[Message], *, timeout: float | None = None
    ) -> list[Message]:  # type: ignore[override]
        replies = list(super().send_and_receive(messages, timeout=timeout))
        for reply in replies:
            if reply.metadata.message_type == "query" and reply.metadata.src_node_id == 2:
                reply.content.config_records["config"]["evaluate-only"] = "policy"
        return replies


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    name: str, five: Five, tmp_path: Path
) -> None:
    """Models and memory, after two rounds: the second depends on what the first left behind."""
    experiment = replace(asked(five[0], name), rounds=2)
    folders = five[1][: max(3, build_strategy(experiment).least_sites)]
    whole, cut = (Job(experiment, "run", len(folders), tmp_path / p, 9) for p in PARTS)
    for job in (whole, cut):
        job.output_dir.mkdir()
    outcome = run_rounds(InProcessGrid(folders, None), whole)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, 2), cut)  # in the second's training
    resumed = run_rounds(InProcessGrid(folders, None), replace(cut, resume=True))
    assert bits(outcome.models) == bits(resumed.models)
    kept = [RunState.load(job) for job in (whole, cut)]
    assert kept[0] is not None
    assert kept[1] is not None
    assert bits(kept[0].learnt.memory) == bits(kept[1].learnt.memory)
    check_outcome(name, whole, outcome)


@pytest.mark.parametrize("name", [n for n in STRATEGIES.names() if "krum" not in n])
def test_a_resumed_run_goes_on_where_a_site_answers_no_more(
    name: str, five: Five, tmp_path: Path
) -> None:
    """Krum's bound takes all five."""
    experiment = replace(asked(five[0], name), rounds=2)
    folders = five[1][: build_strategy(experiment).least_sites + 2]
    job = Job(experiment, "run", len(folders), tmp_path, 9)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(folders, 2), job)
    outcome = run_rounds(Absent(folders), replace(job, resume=True))
    assert outcome.rounds_applied == 2
    check_outcome(name, job, outcome)


@pytest.mark.parametrize("name", ["ditto", "local", "fedbn"])
def test_a_site_that_never_trained_has_no_model_of_its_own_to_score(
    name: str, five: Five, tmp_path: Path
) -> None:
    """But FedBN's, which is the others' mean."""
    job = Job(replace(asked(five[0], name), rounds=1), "run", 3, tmp_path, 9)
    outcome = run_rounds(Absent(five[1][:3]), job)
    result, others = build_result(job, outcome, {}, 0.0), ["site-2", "site-3"]
    write_model(job, outcome)
    stems = {path.stem for path in job.output_dir.glob("model*.json")}
    (line,) = lines(job)
    own = line["validation"] if name != "ditto" else line["validation"]["personal"]  # type: ignore[index]
    if name == "fedbn":
        assert stems == {"model-site-1", "model-site-2", "model-site-3"}
        assert list(own["sites"]) == ["site-1", *others]  # type: ignore[index]
        return
    assert list(own["sites"]) == others  # type: ignore[index]
    if name == "local":
        assert list(result["local_metrics"]) == others
        assert stems == {f"model-{site}" for site in others}
        assert result["sites"][0]["metrics"] is None
    else:
        assert stems == {"model", *(f"model-personal-{site}" for site in others)}
        assert [bool(s["personal"]["metrics"]) for s in result["sites"]] == [False, True, True]
        assert all(s["metrics"] for s in result["sites"])


@pytest.mark.parametrize("name", ["ditto", "scaffold"])
def test_in_half_precision_a_run_takes_half_the_bytes_and_writes_what_was_scored(
    name: str, five: Five, tmp_path: Path
) -> None:
    """With a second model, or a correction, beside the one that all train."""
    whole = replace(asked(five[0], name), rounds=2)
    half = replace(whole, strategy=replace(whole.strategy, wire="float16"))
    jobs = [Job(half, "run", 3, tmp_path / part, 9) for part in PARTS]
    jobs.append(Job(whole, "run", 3, tmp_path / "float32", 9))
    for job in jobs:
        job.output_dir.mkdir()
    outcome, single = (run_rounds(InProcessGrid(five[1][:3], None), job) for job in jobs[::2])
    with pytest.raises(KeyboardInterrupt):
        run_rounds(InterruptingGrid(five[1][:3], 2), jobs[1])
    resumed = run_rounds(InProcessGrid(five[1][:3], None), replace(jobs[1], resume=True))
    assert bits(outcome.models) == bits(resumed.models)
    for name_, arrays in outcome.models.items():
        for key, value in arrays.items():
            assert (value == value.astype(np.float16)).all()
            assert np.abs(value - single.models[name_][key]).mean() < 5e-3
    sent = sum(value.nbytes for value in arrays.values())
    # 2 rounds, each with the model and a second set of arrays; and three models that are scored
    saved = single.bytes_down - outcome.bytes_down
    assert saved >= 3 * (2 * 2 + 2) * sent // 2


def check_outcome(name: str, job: Job, outcome: Outcome) -> None:
    start = arrays_of(build_model(job.experiment, seed=job.experiment.seed))
    for arrays in outcome.models.values():
        assert list(arrays) == list(start)
        assert any((arrays[k] != start[k]).any() for k in start)
    result, sites = build_result(job, outcome, {}, 0.0), list(outcome.descriptions)
    own = [site["personal"] for site in result["sites"]]
    write_counts(job, outcome)
    kept = read_counts(job.output_dir)
    for site in result["sites"]:  # of two models that a site scored, those of the run's own
        loss = figures(kept[site["name"]].counts, job.experiment.classes)["log_loss"]["value"]
        assert loss == site["metrics"]["log_loss"]["value"]
    write_model(job, outcome)
    stems = sorted(path.stem for path in job.output_dir.glob("model*.json"))
    if name == "local":
        assert result["metrics"] is None
        assert list(result["local_metrics"]) == sites
        assert stems == [f"model-{site}" for site in sites]
        return
    tested = sum(site["metrics"]["log_loss"]["support"] for site in result["sites"])
    assert result["metrics"]["log_loss"]["support"] == tested > 0
    if name == "ditto":
        assert stems == ["model", *(f"model-personal-{site}" for site in sites)]
        assert result["personal_metrics"]["log_loss"]["support"] == tested
        assert all(figures["metrics"] for figures in own)
        assert set(lines(job)[-1]["validation"]) == {"pooled", "sites", "personal"}  # type: ignore[call-overload]
    else:
        assert (result["personal_metrics"], own) == (None, [None] * len(sites))
        assert stems == (["model"] if name != "fedbn" else [f"model-{site}" for site in sites])


def test_too_few_sites_for_the_bound_are_refused_before_anybody_is_asked(
    five: Five, tmp_path: Path
) -> None:
    job = Job(asked(five[0], "krum"), "run", 4, tmp_path, wait_seconds=0.0)
    grid = InterruptingGrid(five[1][:4], 0)
    with pytest.raises(JoinError, match="at least 5 sites that train, and there are 4"):
        run_rounds(grid, job)


def test_sites_that_only_evaluate_do_not_count_for_the_bound(five: Five, tmp_path: Path) -> None:
    job = Job(asked(five[0], "krum"), "run", 5, tmp_path)
    with pytest.raises(JoinError, match="at least 5 sites that train, and there are 4"):
        run_rounds(EvaluatesOnly(five[1], None), job)
    assert not (tmp_path / "rounds.jsonl").exists()


def test_a_round_with_too_few_answers_for_the_bound_is_not_applied(
    five: Five, tmp_path: Path
) -> None:
    """A quorum of three would do; Krum's bound, with one liar, asks for five."""
    job = Job(replace(asked(five[0], "krum"), rounds=9), "run", 5, tmp_path, quorum=3)
    with pytest.raises(IncompleteRunError, match="3 rounds in a row"):
        run_rounds(TamperingGrid(five[1], set_weight(-1.0)), job)
    assert [(line["applied"], line["quorum"]) for line in lines(job)] == [(False, 5)] * 3
    assert lines(job)[0]["refused"].keys() == {"site-1"}  # type: ignore[attr-defined]


def without(record: str) -> Callable[[RecordDict], None]:
    return lambda content: content.__delitem__(record)


def misshapen(content: RecordDict) -> None:
    content["personal"] = ArrayRecord({})


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [(without("personal"), "a record 'personal'"), (misshapen, "is missing")],
)
def test_an_answer_without_its_personal_model_is_dropped_by_itself(
    tamper: Callable[[RecordDict], None], reason: str, five: Five, tmp_path: Path
) -> None:
    job = Job(replace(asked(five[0], "ditto"), rounds=1), "run", 5, tmp_path)
    outcome = run_rounds(TamperingGrid(five[1], tamper), job)
    (line,) = lines(job)
    assert reason in line["refused"]["site-1"]  # type: ignore[index]
    assert line["applied"]
    personal = {f"personal-site-{n}" for n in range(2, 6)}
    assert outcome.models.keys() == {"shared", *personal}


class Watching(InProcessGrid):
    """Keeps what each site was asked to train."""

    asked: list[RecordDict]

    def send_and_receive(
        self, messages: list[Message], *, timeout: float | None = None
    ) -> list[Message]:  # type: ignore[override]
        self.asked += [m.content for m in messages if m.metadata.message_type == "train"]
        return list(super().send_and_receive(messages, timeout=timeout))


def test_scaffold_sends_each_site_the_difference_of_two_control_variates(
    five: Five, tmp_path: Path
) -> None:
    """None in round 1; in round 2 the corrections of all sites, by their weights, sum to 0."""
    job = Job(replace(asked(five[0], "scaffold"), rounds=2), "run", 5, tmp_path)
    grid = Watching(five[1], None)
    grid.asked = []
    run_rounds(grid, job)
    sent = [c.array_records["correction"]["head.bias"].numpy() for c in grid.asked]
    assert len(sent) == 10
    assert not any(correction.any() for correction in sent[:5])
    assert all(correction.any() for correction in sent[5:])
    state = RunState.load(job)
    assert state is not None
    sites = [f"site-{n}" for n in range(1, 6)]
    assert set(state.learnt.memory) == {"control", "weights", *(f"control-{s}" for s in sites)}
    weights = state.learnt.memory["weights"]
    assert sorted(weights) == sites
    total = sum(
        weights[s] * state.learnt.memory[f"control-{s}"]["head.bias"].astype(float) for s in sites
    )
    mean = total / sum(weights.values())
    np.testing.assert_allclose(state.learnt.memory["control"]["head.bias"], mean, atol=1e-6)


@pytest.mark.parametrize("name", ["fedprox", "fedadam", "scaffold", "ditto", "median"])
def test_under_privacy_every_strategy_ends_within_the_promised_epsilon(
    name: str, site_folders: Callable[..., tuple[Cohorts, list[Path]]], tmp_path: Path
) -> None:
    """Ditto's second model takes as many steps again, and they are priced."""
    become_server()
    words = ["privacy=patient", f"strategy={name}", "strategy.batch_size=8", "rounds=2"]
    if name == "median":  # two sites are too few for its bound
        words.append("partition=iid")
        words.append("partition.sites=3")
        words.append("privacy.public_patients=20")
    prepared, folders = site_folders(*words)
    job = Job(prepared.experiment, "run", len(folders), tmp_path)
    outcome = run_rounds(InProcessGrid(folders, None), job)
    assert outcome.rounds_applied == 2
    assert outcome.statements.keys() == outcome.descriptions.keys()
    steps = 2 * 2 * (2 if name == "ditto" else 1)
    for statement in outcome.statements.values():
        assert statement.steps == steps
        assert 7 < statement.epsilon_run <= 8
    state = RunState.load(job)
    assert state is not None
    if name == "scaffold":
        assert np.abs(state.learnt.memory["control"]["head.bias"]).max() > 0
