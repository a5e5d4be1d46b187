"""A full disk and two processes: the ledger holds, or nothing trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import yaml

from client import app as client_app
from client.charging import charge_round
from client.entries import Intent, Plan, of_kind
from client.init import init_ledger
from client.site import Site
from common.config import Experiment
from common.errors import BudgetError, LedgerError
from common.messages import TrainRequest
from common.models import build_model
from common.parameters import arrays_of
from tests.conftest import train_ids

pytestmark = pytest.mark.integration


def request(experiment: Experiment, number: int, run_id: str = "run") -> TrainRequest:
    return TrainRequest(run_id, number, experiment, arrays_of(build_model(experiment, seed=0)))


def on(folder: Path, site: Site) -> Site:
    """The site with a new ledger in another folder."""
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text()) | {"ledger_dir": str(folder), "genesis": None}
    path.write_text(yaml.safe_dump(values))
    init_ledger(Site.open(site.folder))
    return Site.open(site.folder)


def test_a_full_disk_at_the_ledger_means_no_training(
    make_site: Callable[..., Site],
    experiment: Experiment,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = on(small_disk, make_site(dict.fromkeys(train_ids(5), 1)))
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass
    with monkeypatch.context() as patch:
        patch.setattr(client_app, "train_private", lambda *_: pytest.fail("trained"))
        with pytest.raises(LedgerError, match=r"ledger.*full"):
            client_app.handle_train(request(experiment, 1).pack(), site)
    ballast.unlink()
    client_app.handle_train(request(experiment, 1).pack(), site)  # nothing was damaged
    assert len(of_kind(site.ledger().read().entries, Intent)) == 1


def charge(job: tuple[str, str, int, str]) -> str:
    """In a process of its own: charge a round, and say what came of it."""
    folder, text, number, run_id = job
    from common.checks import parse_experiment

    try:
        charge_round(Site.open(Path(folder)), request(parse_experiment(text), number, run_id))
    except BudgetError:
        return "budget"
    return "charged"


def test_processes_at_once_cannot_pass_plan_or_cap(
    make_site: Callable[..., Site], experiment: Experiment
) -> None:
    """Sixteen requests at once for a plan of ten rounds, and two runs for a cap of one."""
    site = make_site(dict.fromkeys(train_ids(5), 1))
    path = site.folder / "site.yaml"
    values = yaml.safe_load(path.read_text())
    values["policy"] |= {"epsilon_max": 9.0, "delta": 1e-3}
    path.write_text(yaml.safe_dump(values))
    asked = replace(experiment, rounds=10, local_steps=1)
    jobs = [
        (str(site.folder), asked.to_yaml(), number, run_id)
        for number in range(1, 9)
        for run_id in ("one", "two")
    ]
    with get_context("spawn").Pool(4) as pool:
        outcomes = pool.map(charge, jobs, chunksize=1)
    entries = Site.open(site.folder).ledger().read().entries
    taken = Counter(i.run_id for i in of_kind(entries, Intent))  # a step each
    first, *others = of_kind(entries, Plan)
    assert first.charge.steps == 10
    assert all(plan.charge.steps < 10 for plan in others)
    assert all(taken[plan.run_id] <= plan.charge.steps for plan in of_kind(entries, Plan))
    assert outcomes.count("charged") == sum(taken.values()) >= 8


def test_threads_at_once_write_one_chain(
    make_site: Callable[..., Site], experiment: Experiment
) -> None:
    site = make_site(dict.fromkeys(train_ids(5), 1))
    asked = replace(experiment, rounds=12, local_steps=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: charge_round(site, request(asked, n)), range(1, 13)))
    assert len(of_kind(site.ledger().read().entries, Intent)) == 12
