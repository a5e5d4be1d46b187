"""What crosses the wire under privacy, captured: arrays and allow-listed fields, and no more."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from flwr.app import Message, RecordDict

from common.config import Settings
from common.errors import DataError, JoinError
from server.job import Job
from server.rounds import run_rounds
from simulations.flower import become_server, to_bytes
from simulations.inprocess import InProcessGrid
from simulations.sites import prepare_cohorts, write_site_folders

CANARY = "CANARYBIRD"
STATEMENT = {
    "epsilon_run", "epsilon", "epsilon_rdp", "epsilon_recovery", "epsilon_max", "composition",
    "delta", "unit", "adjacency", "accountant", "noise_multiplier", "sample_rate", "steps",
    "max_grad_norm", "assumed_epsilon",
}  # fmt: skip
ALLOWED = {
    "query": {
        "config": {"site", "run-id", "server-round", "evaluate-only"},
        "privacy": STATEMENT,
        "ledger": {"chain"},
    },
    "train": {
        "config": {"site", "run-id", "server-round"},
        "arrays": None,
        "metrics": {"num-examples"},
        "ledger": {"chain"},
    },
    "evaluate": {
        "config": {"site", "run-id", "server-round"},
        "privacy": STATEMENT,
        "ledger": {"chain"},
        "subgroups": {"sex", "age"},
    },
}
"""Every record that may be in an answer, and every field of it (arrays: the model's own names)."""


class CapturingGrid(InProcessGrid):
    """Keeps every answer, as it came and as bytes."""

    def __init__(self, sites: Iterable[Path]) -> None:
        super().__init__(sites, None)
        self.answers: list[tuple[str, RecordDict, bytes]] = []

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies = list(super().send_and_receive(messages, timeout=timeout))
        for reply in replies:
            kind = reply.metadata.message_type
            self.answers.append((kind, reply.content, to_bytes(reply)))
        return replies


@pytest.fixture
def marked(hospitals: Path, tmp_path: Path) -> Path:
    """The hospitals with a canary in each file's name, folder, patient id and text tags."""
    root = tmp_path / f"{CANARY}-root"
    for site in sorted(hospitals.iterdir()):
        images = root / site.name / f"{CANARY}-images"
        images.mkdir(parents=True)
        with (site / "metadata.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            file = site / row["file"]
            dataset = pydicom.dcmread(file)
            dataset.PatientName = f"{CANARY}^NAME"
            dataset.PatientID = f"{CANARY}-{row['patient_id']}"
            dataset.InstitutionName = f"{CANARY} HOSPITAL"
            row["file"] = f"{CANARY}-images/{CANARY}-{file.name}"
            row["patient_id"] = f"{CANARY}-{row['patient_id']}"
            dataset.save_as(root / site.name / row["file"])
        with (root / site.name / "metadata.csv").open("w", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    return root


def run(
    settings: Settings, tmp_path: Path, harm: Callable[[list[Path]], object] = list
) -> CapturingGrid:
    """Run as far as it goes; ``harm`` may do something to the sites' folders before."""
    become_server()
    cohorts = prepare_cohorts(settings, tmp_path)
    folders = write_site_folders(cohorts, tmp_path / f"{CANARY}-sites")
    harm(folders)
    grid = CapturingGrid(folders)
    (tmp_path / "out").mkdir()
    with suppress(JoinError):
        run_rounds(grid, Job(cohorts.experiment, "run", len(folders), tmp_path / "out"))
    return grid


def test_only_arrays_and_listed_fields_cross_under_privacy(
    marked: Path, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    grid = run(
        settings(f"data.root={marked}", "privacy=patient", "privacy.release_metrics=none"), tmp_path
    )
    assert {kind for kind, _, _ in grid.answers} == set(ALLOWED)
    names = None
    for kind, content, data in grid.answers:
        assert CANARY.encode() not in data
        assert str(tmp_path).encode() not in data
        for record, value in content.items():
            fields = ALLOWED[kind][record]  # a record that is not listed is a KeyError
            if fields is None:
                names = names or set(value)
                assert set(value) == names
            else:
                assert set(value) <= fields
        if kind == "train":
            assert dict(content.metric_records["metrics"]) == {"num-examples": 42.0}


def test_an_error_crosses_as_a_code_even_where_its_text_names_a_file(
    marked: Path, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    def lose_an_image(folders: list[Path]) -> None:
        next((marked / folders[0].name).rglob("*.dcm")).unlink()

    grid = run(settings(f"data.root={marked}", "privacy=patient"), tmp_path, lose_an_image)
    codes = [c.config_records["config"].get("refusal") for _, c, _ in grid.answers]
    assert codes == ["data", None]
    assert all(CANARY.encode() not in data for _, _, data in grid.answers)
    assert CANARY in (tmp_path / f"{CANARY}-sites" / "northfield" / "errors.jsonl").read_text()


def test_the_capture_sees_what_would_leak(
    marked: Path,
    settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A build that sends an error's text in place of its code is caught."""

    def fail(*_: object) -> None:
        raise DataError(f"{marked}: cannot be read")

    monkeypatch.setattr("client.app.SiteImages.load", fail)
    monkeypatch.setattr(DataError, "code", f"{marked}: cannot be read")
    grid = run(settings(f"data.root={marked}", "privacy=patient"), tmp_path)
    assert all(CANARY.encode() in data for _, _, data in grid.answers)
