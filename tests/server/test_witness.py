"""A ledger older than the one that was seen is refused, by whoever it was put back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from client.init import recover_ledger
from client.site import Site
from common.errors import CheckpointError, JoinError, MessageError
from common.statement import PrivacyStatement
from server.job import Job
from server.rounds import run_rounds
from server.witness import Witness
from simulations.flower import become_server
from simulations.inprocess import InProcessGrid
from simulations.sites import Cohorts

ONE, TWO, THREE, OTHER = (bytes([n]) * 32 for n in (1, 2, 3, 9))


def said(epsilon: float, assumed: float = 0.0) -> PrivacyStatement:
    return PrivacyStatement(
        epsilon, epsilon, epsilon, epsilon, 0.0, "one plan", 1e-5, "patient",
        "add-or-remove-one", "prv", 1.0, 0.1, 10, 1.0, assumed,
    )  # fmt: skip


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """Has seen two entries of one site, at ε = 3."""
    witness = Witness(tmp_path / "witness.json")
    witness.observe("a", ONE + TWO, said(3.0))
    witness.save()
    return Witness(witness.path)


def test_a_ledger_may_grow(witness: Witness) -> None:
    witness.observe("a", ONE + TWO + THREE, said(4.0))
    with pytest.raises(MessageError, match="put"):
        witness.observe("a", ONE + TWO, said(3.0))


def test_an_older_ledger_is_refused(witness: Witness) -> None:
    with pytest.raises(MessageError, match="has 1 entries and had 2"):
        witness.observe("a", ONE, said(1.0))


@pytest.mark.parametrize("chain", [OTHER, ONE + OTHER, ONE + OTHER + THREE, OTHER * 9])
def test_another_ledger_is_refused_with_an_answer_or_a_statement(
    witness: Witness, chain: bytes
) -> None:
    for statement in (None, said(9.0)):
        with pytest.raises(MessageError, match="another"):
            witness.observe("a", chain, statement)
    witness.observe("a", ONE + TWO, said(3.0))  # nothing of it was remembered


def test_a_stored_answer_carries_the_chain_as_it_was(witness: Witness) -> None:
    witness.observe("a", ONE, None)
    with pytest.raises(MessageError, match="has 1 entries"):
        witness.observe("a", ONE, said(3.0))


def test_a_recovered_ledger_must_charge_what_was_stated(witness: Witness) -> None:
    with pytest.raises(MessageError, match=r"assumed ε of 2, and had stated 3\.000 for a recovery"):
        witness.observe("a", OTHER, said(2.0, assumed=2.0))
    witness.observe("a", OTHER, said(3.5, assumed=3.5))
    witness.observe("a", OTHER + TWO, said(4.5, assumed=3.5))
    with pytest.raises(MessageError, match="another"):
        witness.observe("a", ONE + TWO, said(3.0))


def test_an_answer_without_a_ledger_is_refused(witness: Witness) -> None:
    with pytest.raises(MessageError, match="no ledger"):
        witness.observe("a", b"", None)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "witness.json").write_text('{"a": {"entries": 1}}')
    with pytest.raises(CheckpointError, match=r"witness\.json"):
        Witness(tmp_path / "witness.json")


def test_a_site_put_back_from_a_backup_is_refused_until_it_recovers(
    site_folders: Callable[..., tuple[Cohorts, list[Path]]], tmp_path: Path
) -> None:
    """The whole folder is put back, key and head too: only the server can tell."""
    become_server()
    cohorts, folders = site_folders("privacy=patient")
    shutil.copytree(folders[0], tmp_path / "backup")
    job = Job(cohorts.experiment, "one", 2, tmp_path / "out", witness=tmp_path / "witness.json")
    job.output_dir.mkdir()
    run_rounds(InProcessGrid(folders, None), job)
    shutil.rmtree(folders[0])
    shutil.copytree(tmp_path / "backup", folders[0])
    again = replace(job, run_id="two", output_dir=tmp_path / "again")
    again.output_dir.mkdir()
    with pytest.raises(JoinError, match="northfield: its ledger has 1 entries and had"):
        run_rounds(InProcessGrid(folders, None), again)

    site = Site.open(folders[0])
    recover_ledger(site, 8.0, 5e-6, "restored from a backup")
    with pytest.raises(JoinError, match="for a recovery"):
        run_rounds(InProcessGrid(folders, None), again)
    recover_ledger(Site.open(folders[0]), 9.0, 5e-6, "with what was stated")
    outcome = run_rounds(InProcessGrid(folders, None), again)
    first, second = outcome.statements["northfield"], outcome.statements["southgate"]
    assert first.assumed_epsilon == 9.0
    assert first.epsilon > 9.0 + first.epsilon_run  # the rest is priced at half of δ
    assert second.epsilon > second.epsilon_run
    assert yaml.safe_load((folders[0] / "site.yaml").read_text())["genesis"]
