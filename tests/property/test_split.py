"""The split, for any ids: one side a patient, and nobody moves when another leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.data.split import Part, part_of, rows_of_part

PARTS: tuple[Part, ...] = ("train", "validation", "test")
ids = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=60)
keys = st.text(min_size=1, max_size=8)
fractions = st.tuples(st.floats(0.01, 0.6), st.floats(0, 0.3))


@given(ids, keys, fractions)
def test_every_row_is_in_exactly_one_part_and_every_patient_on_one_side(
    patients: list[str], key: str, shares: tuple[float, float]
) -> None:
    rows = {part: set(rows_of_part(patients, part, key, *shares).tolist()) for part in PARTS}
    assert sorted(row for part in rows.values() for row in part) == list(range(len(patients)))
    sides = [{patients[row] for row in part} for part in rows.values()]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@given(ids, keys, fractions)
def test_removing_a_patient_moves_nobody_else(
    patients: list[str], key: str, shares: tuple[float, float]
) -> None:
    leaving = patients[0]
    others = [p for p in patients if p != leaving]
    for part in PARTS:
        before = [patients[r] for r in rows_of_part(patients, part, key, *shares)]
        after = [others[r] for r in rows_of_part(others, part, key, *shares)]
        assert [p for p in before if p != leaving] == after


def test_shares_are_kept_and_keys_differ() -> None:
    patients = [f"P{i}" for i in range(20_000)]
    share = len(rows_of_part(patients, "test", "key", 0.2, 0.1)) / len(patients)
    assert abs(share - 0.2) < 0.01
    moved = sum(part_of("a", p, 0.2, 0.1) != part_of("b", p, 0.2, 0.1) for p in patients)
    assert moved > len(patients) / 4


def test_known_places_never_change() -> None:
    # pinned: a site's split must stay the same for its life
    parts = [part_of("fedrounds", f"P{i}", 0.2, 0.1) for i in range(8)]
    assert parts == ["train", "test", "train", "train", "validation", "train", "train", "train"]
