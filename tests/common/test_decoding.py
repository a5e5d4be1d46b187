"""The worker process: limits on time and memory, restarts, and what a parent believes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.decoding.limits import LIMITS, MB, Limits
from common.data.decoding.pool import Pool
from common.data.decoding.process import PROGRAM as WORKER
from common.data.decoding.process import ROOT, Refusal, Worker
from common.data.images import STRETCHED, read_many, to_images, try_headers, try_read
from tests.common.malformed.base import CANARY, dataset, pixels, written
from tests.common.malformed.bombs import bombs, plain_bombs

REQUEST = {"size": 8, "channels": 1, "rendering": asdict(STRETCHED)}


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def small(limits: Limits) -> Iterator[Pool]:
    pool = Pool(1, limits)
    yield pool
    pool.close()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.dcm"
    path.write_bytes(written(dataset()))
    return path


def process_of(pool: Pool) -> subprocess.Popen[bytes]:
    (process,) = [worker._process for worker in pool._workers if worker._process is not None]
    return process


def image(answer: object) -> np.ndarray:
    assert isinstance(answer, np.ndarray), answer
    return answer


def test_one_worker_reads_many_files(pool: Pool, sound: Path) -> None:
    first = image(try_read(sound, 8, 1, pool=pool))
    process = process_of(pool)
    for _ in range(5):
        np.testing.assert_array_equal(image(try_read(sound, 8, 1, pool=pool)), first)
    assert process_of(pool) is process


def test_a_file_that_takes_too_long_is_refused_alone(tmp_path: Path, sound: Path) -> None:
    (endless,) = (case for case in plain_bombs() if case.name == "jpeg-scans")
    path = tmp_path / "endless.jpg"
    path.write_bytes(endless.data)
    pool = Pool(1, Limits(seconds=0.4))
    try:
        answer = try_read(path, 8, 1, pool=pool)
        assert isinstance(answer, Refusal)
        assert "0.4 s of processor time" in answer.reason
        assert image(try_read(sound, 8, 1, pool=pool)).shape == (1, 8, 8)
    finally:
        pool.close()


def test_the_time_grows_with_the_file() -> None:
    assert LIMITS.seconds_for(1000) == LIMITS.seconds_for(MB) < 2
    assert LIMITS.seconds_for(21 * MB) == pytest.approx(LIMITS.seconds + 20)
    assert LIMITS.seconds_for(10**12) == LIMITS.most_seconds


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_a_file_that_takes_too_much_memory_is_refused_alone(tmp_path: Path, sound: Path) -> None:
    (large,) = (case for case in bombs() if case.name == "rle-consistent")
    path = tmp_path / "large.dcm"
    path.write_bytes(large.data)
    assert isinstance(try_read(path, 8, 1), np.ndarray)
    pool = Pool(1, Limits(memory_bytes=256 * MB))
    try:
        answer = try_read(path, 8, 1, pool=pool)
        assert isinstance(answer, Refusal)
        assert "memory" in answer.reason
        assert image(try_read(sound, 8, 1, pool=pool)).shape == (1, 8, 8)
    finally:
        pool.close()


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    with path.open("wb") as stream:
        stream.truncate(300 * MB)
    answer = try_read(path, 8, 1)
    assert isinstance(answer, Refusal)
    assert answer.reason == "it is larger than 256 MB"


def test_a_worker_that_was_killed_is_started_again(pool: Pool, sound: Path) -> None:
    before = image(try_read(sound, 8, 1, pool=pool))
    process_of(pool).kill()
    process_of(pool).wait()
    np.testing.assert_array_equal(image(try_read(sound, 8, 1, pool=pool)), before)


def test_a_slow_start_is_no_files_fault_and_a_worker_that_hangs_is_given_up(
    pool: Pool, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limits, "wall_seconds_for", lambda *_: 0.01)  # no interpreter starts in it
    first = try_read(sound, 8, 1, pool=pool)
    assert isinstance(first, np.ndarray)
    os.kill(process_of(pool).pid, signal.SIGSTOP)
    answer = try_read(sound, 8, 1, pool=pool)
    assert isinstance(answer, Refusal)
    assert answer.reason == "reading it did not come to an end"
    np.testing.assert_array_equal(image(try_read(sound, 8, 1, pool=pool)), first)


def test_a_worker_ends_with_its_parent(sound: Path) -> None:
    """The parent is killed, so that it can close nothing; its pipe closes all the same."""
    code = (
        "import os, sys; from pathlib import Path; from common.data.images import try_read;"
        "from common.data.decoding.pool import shared_pool;"
        f"try_read(Path({str(sound)!r}), 8, 1);"
        "print(*[w._process.pid for w in shared_pool()._workers if w._process], flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert parent.returncode == -signal.SIGKILL
    pid = int(parent.stdout)
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        subprocess.run(["sleep", "0.02"], check=True)
    pytest.fail("the worker outlived its parent")


def test_what_is_no_regular_file_is_refused(tmp_path: Path, pool: Pool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zero", "folder", "missing"):
        answer = try_read(tmp_path / name, 8, 1, pool=pool)
        assert isinstance(answer, Refusal), name


def test_a_name_that_is_no_text_is_read(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\n.dcm")
    path.write_bytes(written(dataset()))
    assert image(try_read(path, 8, 1, pool=pool)).shape == (1, 8, 8)


@pytest.mark.parametrize(
    "answer",
    [
        b"not json\n",
        b"[1]\n",
        b'{"number": 2, "shape": [1, 1, 8, 8]}\n' + bytes(64),
        b'{"number": 1, "shape": [1, 1, 8]}\n',
        b'{"number": 1, "shape": [1, 1, 8, -8]}\n',
        b'{"number": 1, "shape": [1, 1, 1048576, 1048576]}\n',
        b'{"number": 1, "shape": [1, 1, 8, 8]}\n' + bytes(100),
        b'{"number": 1, "shape": [1, 3, 8, 8]}\n' + bytes(192),
        b'{"number": 1}\n',
        b"x" * (2 * MB),
    ],
    ids=range(10),
)
def test_a_worker_is_not_believed(
    answer: bytes, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A codec that was taken over can answer anything: it is checked and never unpickled."""
    (tmp_path / "impostor.py").write_text(
        f"import sys, time\nsys.stdin.readline()\nsys.stdout.buffer.write({answer!r})\n"
        "sys.stdout.flush()\ntime.sleep(60)\n"
    )
    monkeypatch.setattr("common.data.decoding.process.PROGRAM", "impostor")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Worker()
    try:
        found = to_images(sound, worker.ask(sound, REQUEST), 8, 1)
    finally:
        worker.close()
    assert isinstance(found, Refusal)
    assert found.reason == "its decoder gave no proper answer"


def test_a_question_that_was_given_up_is_not_answered_to_the_next(
    pool: Pool, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.dcm"
    other.write_bytes(written(dataset(image=pixels()[::-1])))
    worker = pool._workers[0]
    right = image(try_read(other, 8, 1, pool=pool))

    def interrupted(deadline: float) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            try_read(sound, 8, 1, pool=pool)
    np.testing.assert_array_equal(image(try_read(other, 8, 1, pool=pool)), right)


def test_two_workers_read_a_list_in_any_order(tmp_path: Path) -> None:
    files = []
    for number in range(70):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((9, 9), number, np.uint8)).save(files[-1])
    files[13].write_bytes(b"no image")
    found: dict[int, object] = {}
    pool = Pool(2)
    try:
        read_many(files, 4, 1, found.__setitem__, pool=pool)
        assert sum(worker._process is not None for worker in pool._workers) == 2
    finally:
        pool.close()
    assert sorted(found) == list(range(70))
    assert isinstance(found.pop(13), Refusal)
    assert all((value == number).all() for number, value in found.items())


def test_an_error_of_the_taker_ends_the_reading(tmp_path: Path, sound: Path, pool: Pool) -> None:
    def fail(index: int, answer: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        read_many([sound] * 100, 4, 1, fail, pool=pool)


def test_a_header_is_answered_by_keyword(sound: Path, tmp_path: Path, pool: Pool) -> None:
    keywords = ["PatientID", "WindowCenter", "ImageType", "TransferSyntaxUID", "StudyDate"]
    plain = tmp_path / "plain.png"
    Image.new("L", (4, 4)).save(plain)
    header = {
        "PatientID": CANARY,
        "WindowCenter": "2048.0",
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
    }
    assert try_headers([sound, plain], keywords, pool) == [header, {}]
    sound.write_bytes(sound.read_bytes()[:300])
    (answer,) = try_headers([sound], keywords, pool)
    assert isinstance(answer, Refusal)


def test_the_workers_own_limits_are_the_ones_it_was_given() -> None:
    limits = Limits(**json.loads(json.dumps(asdict(LIMITS))))
    assert limits == LIMITS
    assert WORKER == "common.data.decoding.worker"
