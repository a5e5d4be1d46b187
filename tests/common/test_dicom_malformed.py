"""Hundreds of malformed files: each refused alone, quickly, in little memory, and in silence."""

from __future__ import annotations

import logging
import os
import re
import resource
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from common.data.decoding.limits import MB
from common.data.decoding.pool import Pool
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering, read_dicom
from common.data.images import STRETCHED, refused, try_read
from common.errors import DataError
from tests.common.malformed.base import CANARY, Case
from tests.common.malformed.make import corpus
from tests.conftest import PROJECT

MOST_SECONDS = 2.0


@dataclass(frozen=True)
class Result:
    case: Case
    refusal: Refusal | None
    seconds: float
    """By the clock, or of processor time where that is less: on a busy machine the
    clock goes on while the file waits."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return corpus()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("malformed")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def results(cases: list[Case], folder: Path, pool: Pool) -> list[Result]:
    found = []
    for number, case in enumerate(cases):
        path = folder / f"{number:04d}"
        path.write_bytes(case.data)
        clock, processor = time.monotonic(), processor_seconds(pool)
        answer = try_read(path, 32, 1, STRETCHED, pool)
        clock, processor = time.monotonic() - clock, processor_seconds(pool) - processor
        seconds = min(clock, processor) if processor > 0 else clock
        found.append(Result(case, answer if isinstance(answer, Refusal) else None, seconds))
    return found


def processor_seconds(pool: Pool) -> float:
    """User and system time of this process's children: those that ended, and the live worker."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    process = pool._workers[0]._process
    status = Path(f"/proc/{process.pid}/stat") if process is not None else None
    if status is not None and status.exists():
        fields = status.read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def test_the_corpus_is_large_and_of_every_kind(cases: list[Case]) -> None:
    kinds = Counter(case.kind for case in cases)
    assert sum(kinds.values()) >= 500
    assert min(kinds.values()) >= 4
    assert len({(case.kind, case.name) for case in cases}) == sum(kinds.values())
    page = (PROJECT / "docs" / "dicom.md").read_text(encoding="utf-8")
    assert f"writes {len(cases)} malformed files" in page


def test_each_is_refused_or_is_in_fact_sound(results: list[Result]) -> None:
    wrong = [
        (result.case.kind, result.case.name, result.refusal)
        for result in results
        if result.case.expected != "either"
        and (result.refusal is not None) != (result.case.expected == "refused")
    ]
    assert wrong == []
    assert sum(result.refusal is not None for result in results) >= 400


def test_each_costs_less_than_two_seconds(results: list[Result]) -> None:
    assert max(result.seconds for result in results) < MOST_SECONDS


@pytest.mark.usefixtures("results")
def test_the_worker_stayed_below_a_gigabyte(pool: Pool) -> None:
    """Of address space, at its worst since it was started; the limit is the kernel's."""
    worker = pool._free.queue[0]
    assert worker._process is not None
    status = Path(f"/proc/{worker._process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc: memory is limited and measured on Linux")
    peak = re.search(r"VmPeak:\s+(\d+) kB", status.read_text())
    assert peak is not None
    assert int(peak[1]) * 1024 <= 1024 * MB


def test_a_reason_is_given_and_says_nothing_of_the_file(results: list[Result]) -> None:
    reasons = {result.refusal.reason for result in results if result.refusal is not None}
    assert not [reason for reason in reasons if CANARY[:6].lower() in reason.lower()]
    assert not [reason for reason in reasons if "cannot be decoded (" in reason]
    assert not [reason for reason in reasons if "crash" in reason or "proper" in reason]
    first = next(result.refusal for result in results if result.refusal is not None)
    assert str(refused(first)).startswith(f"{first.path}: expected a readable image, but ")


def test_sound_files_in_bad_company_are_read_right(folder: Path, results: list[Result]) -> None:
    """What is not refused although it looks bad shows the image that it was made from."""
    plain = None
    for number, result in enumerate(results):
        if result.case.expected == "read" and result.case.kind in ("preamble", "deep"):
            shown = read_dicom(folder / f"{number:04d}")
            plain = shown if plain is None else plain
            np.testing.assert_array_equal(shown, plain, err_msg=result.case.name)
    assert plain is not None


@pytest.mark.usefixtures("results")
def test_nothing_reaches_a_log_even_in_this_process(
    cases: list[Case],
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Without a worker in between: what pydicom and the codecs say, and the errors' tracebacks."""
    caplog.set_level(logging.DEBUG)
    texts = []
    for number, case in enumerate(cases):
        if case.kind in ("bomb", "deep"):
            continue
        try:
            read_dicom(folder / f"{number:04d}", Rendering(frames="first"))
        except DataError as error:
            texts.append("".join(traceback.format_exception(error)))
    out, err = capfd.readouterr()
    whole = "".join([*texts, caplog.text, out, err])
    assert len(texts) > 300
    assert CANARY not in whole
    assert CANARY[:6] not in whole
