"""Who a node is, is what its key proved, where keys prove it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from common.errors import IncompleteRunError, JoinError
from server.job import Job
from server.rounds import run_rounds
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts


@pytest.fixture
def job(
    site_folders: Callable[..., tuple[Cohorts, list[Path]]], tmp_path: Path
) -> tuple[Job, InProcessGrid]:
    become_server()
    cohorts, folders = site_folders("rounds=1")
    output = tmp_path / "out"
    output.mkdir()
    names = {2 + n: folder.name for n, folder in enumerate(folders)}
    job = Job(cohorts.experiment, "run", 2, output, registered=names, wait_seconds=0.3)
    return job, InProcessGrid(folders, None)


def test_registered_sites_train(job: tuple[Job, InProcessGrid]) -> None:
    given, grid = job
    assert run_rounds(grid, replace(given, deadline_seconds=60.0)).rounds_applied == 1


def test_a_site_cannot_answer_in_anothers_name(job: tuple[Job, InProcessGrid]) -> None:
    given, grid = job
    first, second = (given.registered or {}).items()
    swapped = {first[0]: second[1], second[0]: first[1]}
    with pytest.raises(JoinError, match="in the name of"):
        run_rounds(grid, replace(given, registered=swapped))


def test_a_site_that_does_not_come_is_named(job: tuple[Job, InProcessGrid]) -> None:
    given, grid = job
    more = {**(given.registered or {}), 99: "lakeside"}
    with pytest.raises(IncompleteRunError, match="missing: lakeside"):
        run_rounds(grid, replace(given, registered=more, num_sites=3))


def test_a_node_that_was_not_registered_is_not_asked(job: tuple[Job, InProcessGrid]) -> None:
    given, grid = job
    first = dict([next(iter((given.registered or {}).items()))])
    outcome = run_rounds(grid, replace(given, registered=first, num_sites=1))
    assert list(outcome.descriptions) == list(first.values())


class ForgetfulGrid(InProcessGrid):
    """Takes its first node for present, and then finds that it is gone, once."""

    def __init__(self, sites: list[Path]) -> None:
        super().__init__(sites, None)
        self.times = 0

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = list(super().send_and_receive(messages, timeout=timeout))
        self.times += 1
        if self.times > 1:
            return replies
        error = Error(ErrorCode.NODE_UNAVAILABLE, "gone")
        asked = next(m for m in messages if m.metadata.dst_node_id == 2)
        return [Message(error, reply_to=asked), *replies[1:]]


def test_a_node_that_only_seemed_present_is_waited_for_again(
    job: tuple[Job, InProcessGrid], site_folders: Callable[..., tuple[Cohorts, list[Path]]]
) -> None:
    given, _ = job
    grid = ForgetfulGrid(site_folders("rounds=1")[1])
    outcome = run_rounds(grid, replace(given, wait_seconds=30.0, deadline_seconds=30.0))
    assert sorted(outcome.descriptions) == sorted((given.registered or {}).values())
    assert outcome.rounds_applied == 1
