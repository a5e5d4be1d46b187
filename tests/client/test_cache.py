"""The image cache: decoded once, again where a file changed, by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client import cache
from client.cache import decoded_images
from common.config import TaskSettings
from common.data.dicom import Rendering
from common.data.manifest import Manifest
from common.errors import DataError
from tests.common.malformed.base import CANARY, dataset, pixels, written
from tests.conftest import PROJECT

TASK = TaskSettings(image_size=8, channels=1)
Decoded = Callable[[], list[str]]


def manifest(root: Path, files: list[str]) -> Manifest:
    labels = np.zeros((len(files), 1), np.float32)
    return Manifest(root, tuple(files), tuple(files), labels, ("a",), {})


@pytest.fixture
def images(tmp_path: Path) -> Manifest:
    """Six images of one grey level each, 0 to 50."""
    root = tmp_path / "images"
    root.mkdir()
    files = [f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        Image.new("L", (9, 9), 10 * number).save(root / file)
    return manifest(root, files)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded, as they are."""
    names: list[str] = []
    read_many = cache.read_many

    def noted(paths: list[Path], *arguments: object) -> None:
        names.extend(path.name for path in paths)
        read_many(paths, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "read_many", noted)
    return names


def levels(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_images_are_decoded_once(images: Manifest, decoded: list[str], tmp_path: Path) -> None:
    first = decoded_images(images, TASK, tmp_path / "cache")
    assert levels(first) == [0, 10, 20, 30, 40, 50]
    assert first.shape == (6, 1, 8, 8)
    assert isinstance(first, np.memmap)
    assert not first.flags.writeable
    assert len(decoded) == 6
    np.testing.assert_array_equal(decoded_images(images, TASK, tmp_path / "cache"), first)
    assert len(decoded) == 6


def test_only_a_changed_file_is_decoded_again(
    images: Manifest, decoded: list[str], tmp_path: Path
) -> None:
    before = decoded_images(images, TASK, tmp_path / "cache")
    decoded.clear()
    Image.new("L", (9, 9), 200).save(images.root / "2.png")
    assert levels(decoded_images(images, TASK, tmp_path / "cache")) == [0, 10, 200, 30, 40, 50]
    assert decoded == ["2.png"]
    assert levels(before) == [0, 10, 20, 30, 40, 50]  # who has it mapped keeps it


def test_a_change_that_keeps_name_size_and_time_is_seen(images: Manifest, tmp_path: Path) -> None:
    path = images.root / "2.png"
    Image.new("L", (9, 9), 20).save(path, "BMP")
    decoded_images(images, TASK, tmp_path / "cache")
    facts = path.stat()
    Image.new("L", (9, 9), 99).save(path, "BMP")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert levels(decoded_images(images, TASK, tmp_path / "cache"))[2] == 99


def test_settings_have_an_array_each(images: Manifest, decoded: list[str], tmp_path: Path) -> None:
    for task in (
        TASK,
        TaskSettings(image_size=4, channels=1),
        TaskSettings(image_size=8, channels=3),
    ):
        for _ in range(2):
            shape = decoded_images(images, task, tmp_path / "cache").shape
            assert shape == (6, task.channels, task.image_size, task.image_size)
    assert len(decoded) == 18


def test_a_longer_list_takes_over_what_is_there(
    images: Manifest, decoded: list[str], tmp_path: Path
) -> None:
    some = images.take([4, 1])
    assert levels(decoded_images(some, TASK, tmp_path / "cache")) == [40, 10]
    assert levels(decoded_images(images, TASK, tmp_path / "cache")) == [0, 10, 20, 30, 40, 50]
    assert sorted(decoded) == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    decoded_images(images.take([0]), TASK, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == cache.KEPT


def test_an_array_of_settings_that_are_no_more_goes_after_a_while(
    images: Manifest, tmp_path: Path
) -> None:
    small = TaskSettings(image_size=4, channels=1)
    for task in (small, TASK):
        decoded_images(images, task, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    (old,) = (tmp_path / "cache").glob("images-4x1-*.npy")
    long_ago = old.stat().st_mtime - cache.STALE_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    decoded_images(images.take([0]), TASK, tmp_path / "cache")
    assert not old.exists()


def test_the_first_file_that_cannot_be_read_is_named(
    images: Manifest, decoded: list[str], tmp_path: Path
) -> None:
    (images.root / "1.png").write_bytes(b"nothing")
    (images.root / "4.png").write_bytes(b"nothing")
    for _ in range(2):
        with pytest.raises(DataError, match=r"/1\.png: .*neither .*\(and 1 more"):
            decoded_images(images, TASK, tmp_path / "cache")
    assert decoded[6:] == ["1.png", "4.png"]  # the others are kept
    Image.new("L", (9, 9), 77).save(images.root / "1.png")
    Image.new("L", (9, 9), 78).save(images.root / "4.png")
    assert levels(decoded_images(images, TASK, tmp_path / "cache")) == [0, 77, 20, 30, 78, 50]


def test_a_file_that_is_gone_is_named(images: Manifest, tmp_path: Path) -> None:
    (images.root / "3.png").unlink()
    with pytest.raises(DataError, match=r"/3\.png: .*cannot be opened"):
        decoded_images(images, TASK, tmp_path / "cache")


def test_another_rendering_is_another_image(images: Manifest, tmp_path: Path) -> None:
    (images.root / "0.png").write_bytes(written(dataset(image=pixels(8, 8) // 4)))
    stretched = decoded_images(images, TASK, tmp_path / "cache")
    plain = decoded_images(images, TASK, tmp_path / "cache", rendering=Rendering())
    assert stretched[0].max() == 255
    assert plain[0].max() == 64


def test_refused_files_are_handed_over_and_the_others_go_on(
    images: Manifest, tmp_path: Path
) -> None:
    (images.root / "1.png").write_bytes(b"nothing")
    for _ in range(2):  # not from the cache as zeros the second time
        refusals: dict[int, object] = {}
        found = decoded_images(images, TASK, tmp_path / "cache", refusals=refusals)
        assert levels(found) == [0, 0, 20, 30, 40, 50]
        assert list(refusals) == [1]
        assert "1.png" in str(refusals[1])


def test_all_refused_is_no_array_to_write_twice(images: Manifest, tmp_path: Path) -> None:
    for file in images.files:
        (images.root / file).write_bytes(b"nothing")
    refusals: dict[int, object] = {}
    decoded_images(images, TASK, tmp_path / "cache", refusals=refusals)
    assert sorted(refusals) == list(range(6))
    (array,) = (tmp_path / "cache").glob("*.npy")
    written_at = array.stat().st_mtime_ns
    decoded_images(images, TASK, tmp_path / "cache", refusals=refusals)
    assert array.stat().st_mtime_ns == written_at


def test_progress_is_told(images: Manifest, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    decoded_images(
        images, TASK, tmp_path / "cache", progress=lambda done, of: told.append((done, of))
    )
    assert told == [(number, 6) for number in range(1, 7)]


@pytest.mark.parametrize("damage", ["short", "long", "empty", "text"])
def test_a_damaged_array_is_refused_by_name(damage: str, images: Manifest, tmp_path: Path) -> None:
    decoded_images(images, TASK, tmp_path / "cache")
    (array,) = (tmp_path / "cache").glob("*.npy")
    whole = array.read_bytes()
    made = {"short": whole[:-1], "long": whole + b"\0", "empty": b"", "text": b"text"}
    array.write_bytes(made[damage])
    with pytest.raises(DataError, match=f"{array.name}.*delete it"):
        decoded_images(images, TASK, tmp_path / "cache")


def test_a_failure_leaves_nothing_half_written(
    images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, keys: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_finish", full)
    with pytest.raises(OSError, match="No space"):
        decoded_images(images, TASK, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["images.lock"]


def test_nothing_in_the_cache_tells_whose_images_they_are(tmp_path: Path) -> None:
    root = tmp_path / CANARY
    root.mkdir()
    files = [f"{CANARY}-{number}.dcm" for number in range(3)]
    for number, file in enumerate(files):
        (root / file).write_bytes(written(dataset(image=pixels() // (number + 1))))
    decoded_images(manifest(root, files), TASK, tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        assert CANARY not in path.name
        assert CANARY.encode() not in path.read_bytes()


def test_two_processes_that_start_together_decode_once(images: Manifest, tmp_path: Path) -> None:
    code = f"""
import numpy as np
from pathlib import Path
from client.cache import decoded_images
from common.config import TaskSettings
from common.data.dicom import Rendering
from common.data.manifest import Manifest
files = tuple({list(images.files)!r})
told = []
root = Path({str(images.root)!r})
manifest = Manifest(root, files, files, np.zeros((6, 1), np.float32), ("a",), {{}})
images = decoded_images(manifest, TaskSettings(image_size=8, channels=1),
                        Path({str(tmp_path / "cache")!r}), progress=lambda *n: told.append(n))
print(len(told), images[:, 0, 0, 0].tolist())
"""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = sorted(process.communicate()[0].strip() for process in both)
    assert answers == ["0 [0, 10, 20, 30, 40, 50]", "6 [0, 10, 20, 30, 40, 50]"]
