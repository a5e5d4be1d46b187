"""Equal images: every kind is found, and within a patient one stays, whoever else is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.data.duplicates import Duplicates, contradict, equal_groups, once
from common.data.manifest import Manifest

NAN = float("nan")


def test_groups_are_rows_of_equal_digest() -> None:
    assert equal_groups([b"a", b"b", None, b"a", None, b"c", b"b", b"a"]) == [(0, 3, 7), (1, 6)]


def test_labels_contradict_where_a_class_is_and_is_not() -> None:
    assert contradict(np.array([[1, 0], [0, 1]], np.float32))
    assert not contradict(np.array([[1, 0], [1, 0]], np.float32))
    assert not contradict(np.array([[1, NAN], [1, 0], [NAN, 0]], np.float32))


def test_every_kind_is_told_apart() -> None:
    digests = [b"w", b"w", b"x", b"x", b"p", b"p", b"c", b"c", b"single"]
    patients = ("1", "1", "1", "2", "3", "4", "5", "6", "7")
    labels = np.array([[1, 0]] * 7 + [[0, 1]] * 2, np.float32)
    parts = ["train", "train", "train", "train", "train", "test", "test", "test", "test"]
    files = tuple(map(str, range(9)))
    found = Duplicates.of(digests, Manifest(Path(), files, patients, labels, ("a", "b"), {}), parts)
    assert found.within == ((0, 1),)
    assert found.across == ((2, 3), (4, 5), (6, 7))
    assert found.parts == ((4, 5),)
    assert found.conflicts == ((6, 7),)


def test_within_a_patient_the_first_by_name_stays() -> None:
    rows = np.array([3, 5, 8, 9])
    names = ["z.png", "b.png", "a.png", "c.png"]
    assert once(rows, names, [b"x", b"y", b"x", b"x"]).tolist() == [5, 8]
    assert once(rows, names, [b"1", b"2", b"3", b"4"]).tolist() == [3, 5, 8, 9]
