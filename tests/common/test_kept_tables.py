"""A table is read again when it changes, and only then."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.config import SourceSettings, TaskSettings
from common.data import kept_tables
from common.data.kept_tables import manifest_of_site
from common.data.layouts import read_manifest
from common.data.manifest import Manifest
from common.data.pool import PoolSettings
from common.errors import DataError

CLASSES = ("a", "b")
TASK = TaskSettings()
POOL = PoolSettings("iid", sites=3, seed=0)


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    write(tmp_path, "a")
    return SourceSettings(
        root=str(tmp_path), table="t.csv", image_column="image", label_column="label",
        patient_column="patient", site_column=None, split_key="key",
    )  # fmt: skip


def write(folder: Path, label: str) -> None:
    rows = [f"{i}.png,p{i // 2},{label}" for i in range(20)]
    (folder / "t.csv").write_text("\n".join(["image,patient,label", *rows]) + "\n")
    for i in range(20):
        (folder / f"{i}.png").touch()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    kept_tables._kept.cache_clear()
    seen: list[str] = []
    read: Callable[..., Manifest] = read_manifest

    def counted(source: SourceSettings, *words: object, **named: object) -> Manifest:
        seen.append(source.root or "")
        return read(source, *words, **named)

    monkeypatch.setattr(kept_tables, "read_manifest", counted)
    return seen


def shares(source: SourceSettings) -> list[Manifest]:
    return [manifest_of_site(source, POOL, f"site-{n}", TASK, CLASSES) for n in (1, 2, 3)]


def test_all_sites_of_a_pool_read_its_table_once(source: SourceSettings, reads: list[str]) -> None:
    found = shares(source) + shares(source)
    assert len(reads) == 1
    assert sum(len(manifest) for manifest in found) == 40
    assert [m.files for m in found[:3]] == [m.files for m in found[3:]]


def test_a_table_that_changed_is_read_again(
    source: SourceSettings, reads: list[str], tmp_path: Path
) -> None:
    assert shares(source)[0].labels[0].tolist() == [1, 0]
    before = (tmp_path / "t.csv").stat()
    write(tmp_path, "b")  # of the same size
    os.utime(tmp_path / "t.csv", ns=(before.st_atime_ns, before.st_mtime_ns))  # and age
    assert shares(source)[0].labels[0].tolist() == [0, 1]
    assert len(reads) == 2


def test_other_settings_are_read_apart(source: SourceSettings, reads: list[str]) -> None:
    everyone = manifest_of_site(source, None, "site-1", TASK, CLASSES)
    without = replace(source, exclude=("0.png",))
    assert len(manifest_of_site(without, None, "site-1", TASK, CLASSES)) == len(everyone) - 1
    swapped = manifest_of_site(source, None, "site-1", TASK, CLASSES[::-1])
    assert swapped.labels[0].tolist() == [0, 1]
    assert len(reads) == 3


def test_an_image_that_went_since_is_missed(source: SourceSettings, tmp_path: Path) -> None:
    shares(source)
    for i in range(20):
        (tmp_path / f"{i}.png").unlink()
    with pytest.raises(DataError, match="images of the table are missing"):
        shares(source)


def test_nobody_can_change_what_is_kept(source: SourceSettings) -> None:
    manifest = manifest_of_site(source, None, "site-1", TASK, CLASSES)
    with pytest.raises(ValueError, match="read-only"):
        manifest.labels[0, 0] = 5.0
