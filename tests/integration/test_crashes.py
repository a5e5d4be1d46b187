"""SIGKILL at random moments: nothing leaves that the ledger does not hold."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest
import torch

from client.app import handle_train
from client.entries import Intent, of_kind
from client.site import Site
from common.config import Experiment
from common.messages import TrainRequest
from common.models import build_model
from common.parameters import arrays_of
from common.wire import to_bytes
from tests.conftest import PROJECT, train_ids

KILLS = 200


def train_on(folder: Path, experiment: Experiment, number: int) -> str:
    """One round as the server asks for it; the digest of the bytes that leave."""
    arrays = arrays_of(build_model(experiment, seed=0))
    request = TrainRequest("run", number, experiment, arrays)
    return sha256(to_bytes(handle_train(request.pack(), Site.open(folder)))).hexdigest()


def train_for_ever(folder: Path, experiment: Experiment, first: int, pipe: int) -> None:
    """Train round after round, and say so of each once its answer has left."""
    for number in count(first):
        os.write(pipe, f"{number} {train_on(folder, experiment, number)}\n".encode())


def killed_child(
    folder: Path, experiment: Experiment, first: int, seconds: float
) -> list[tuple[int, str]]:
    """Fork a child that trains, kill it, and return the rounds that it released."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            train_for_ever(folder, experiment, first, writing)
        finally:
            os._exit(1)  # an error of its own: the parent sees that it was not killed
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, encoding="ascii") as stream:
        lines = stream.read().splitlines(keepends=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return [(int(n), digest) for n, digest in (t.split() for t in lines if t.endswith("\n"))]


@pytest.fixture
def endless(experiment: Experiment) -> Experiment:
    """A plan that no test comes to the end of, of one step a round."""
    privacy = replace(experiment.privacy, epsilon=None, noise_multiplier=2.0)
    return replace(experiment, rounds=100_000, local_steps=1, privacy=privacy)


def intents(site: Site) -> list[int]:
    return [i.server_round for i in of_kind(site.ledger().read().entries, Intent)]


def check(site: Site, released: list[tuple[int, str]], kills: int) -> None:
    """Every released round was charged, at most one round a kill for nothing, none sent twice."""
    charged = intents(site)
    answers = set(released)
    assert {number for number, _ in answers} <= set(charged)
    assert len(answers) == len({number for number, _ in answers})  # one answer a round
    assert len(answers) <= len(charged) <= len(answers) + kills


def test_two_hundred_kills(make_site: Callable[..., Site], endless: Experiment) -> None:
    torch.set_num_threads(1)
    site = make_site(dict.fromkeys(train_ids(6), 1), public_patients=8)
    dice, released = random.Random(0), [(1, train_on(site.folder, endless, 1))]
    started = time.monotonic()  # what is slow the first time was done before
    released += [(number, train_on(site.folder, endless, number)) for number in (2, 3)]
    one_round = (time.monotonic() - started) / 2
    for kill in range(1, KILLS + 1):
        first = released[-1][0] + 1
        seconds = dice.uniform(0, 2.5 * one_round)  # kills fall on every part of a round
        released += killed_child(site.folder, endless, first, seconds)
        check(site, released, kill)
    assert len(released) > 10  # and it got somewhere, on a machine however busy
    assert len(intents(site)) > len(released)  # and some fell between intent and answer


SCRIPT = """
import sys
from pathlib import Path
from common.checks import parse_experiment
from tests.integration.test_crashes import train_for_ever
folder, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
train_for_ever(folder, parse_experiment(sys.stdin.read()), first, 1)
"""


@pytest.mark.integration
def test_five_kills_of_full_processes(make_site: Callable[..., Site], endless: Experiment) -> None:
    site = make_site(dict.fromkeys(train_ids(6), 1), public_patients=8)
    dice, released = random.Random(1), [(1, train_on(site.folder, endless, 1))]
    for kill in range(1, 6):
        words = [sys.executable, "-c", SCRIPT, str(site.folder), str(released[-1][0] + 1)]
        with subprocess.Popen(
            words, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(endless.to_yaml())
            process.stdin.close()
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0.05, 1.0))
            process.kill()
            lines = process.stdout.read().splitlines(keepends=True)
        released += [(int(t.split()[0]), t.split()[1]) for t in lines if t.endswith("\n")]
        check(site, released, kill)
