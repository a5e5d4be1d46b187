"""Groups of metadata across the wire: as they were sent, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from common.errors import MessageError
from common.evaluation import EvaluationSettings, Grouping
from common.metrics import Counts, Scored, count, count_replicates
from common.metrics.bootstrap import Replicates, draw_patients
from common.parameters import to_record
from common.subgroups import SiteGroups
from common.wire import read_arrays
from tests.common.metrics.images import single_label

ASKED = EvaluationSettings(
    replicates=5,
    subgroups={
        "sex": Grouping(values=("F", "M")),
        "age": Grouping(bands=(0, 40)),
        "view": Grouping(values=("PA",)),
    },
)
GROUP = "group 1 of sex"


def site() -> tuple[Counts, SiteGroups]:
    """A site that counts by sex, may not by age, and has no view."""
    scored: Scored = single_label(60)
    draws = np.concatenate([np.ones((1, 60), np.int64), draw_patients("key", "site", 60, 5)])
    counts, groups = count(scored), np.random.default_rng(0).integers(0, 3, 60)
    parts = [count_replicates(scored, draws * (groups == g)) for g in range(3)]
    sex = tuple(Replicates.pack(part, counts) for part in parts)
    statuses = {"sex": "shown", "age": "withheld", "view": "absent"}
    return counts, SiteGroups(statuses, {"sex": sex})  # type: ignore[arg-type]


def test_groups_come_off_the_wire_as_they_were() -> None:
    counts, sent = site()
    content = RecordDict()
    sent.pack_into(content)
    came = SiteGroups.unpack(content, ASKED, "test", counts)
    assert came.statuses == sent.statuses
    assert list(came.groups) == ["sex"]
    for one, other in zip(came.groups["sex"], sent.groups["sex"], strict=True):
        assert (one.cells == other.cells).all()
        assert (one.sums == other.sums).all()


def test_of_validation_patients_no_groups_are_asked() -> None:
    assert SiteGroups.unpack(RecordDict(), ASKED, "validation", site()[0]) == SiteGroups()


def test_a_site_without_counts_says_its_columns_alone() -> None:
    content = RecordDict()
    SiteGroups(site()[1].statuses).pack_into(content)
    came = SiteGroups.unpack(content, ASKED, "test", None)
    assert (came.statuses["sex"], came.groups) == ("shown", {})


def change(content: RecordDict, array: str, edit: Callable[[np.ndarray], None]) -> None:
    arrays = {name: value.copy() for name, value in read_arrays(content, GROUP).items()}
    edit(arrays[array])
    content[GROUP] = to_record(arrays)


def one_more(cells: np.ndarray) -> None:
    """One image more in the first cell than there is in all groups together."""
    cells[0, 0] += 200


def another_order(sums: np.ndarray) -> None:
    """More pairs in one bin than the group's scores have: the third kind of sum."""
    sums[0, 4 + 90] += 1


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda c: c.pop(GROUP), "expected a record 'group 1 of sex'"),
        (lambda c: c.pop("subgroups"), "shown, withheld or absent"),
        (lambda c: c.__setitem__("subgroups", ConfigRecord({"sex": "shown"})), "for each"),
        (
            lambda c: c.__setitem__(
                "subgroups", ConfigRecord({"sex": "shown", "age": "perhaps", "view": "absent"})
            ),
            "shown, withheld or absent",
        ),
        (
            lambda c: c.__setitem__(
                "subgroups", ConfigRecord({"sex": ["shown"], "age": "absent", "view": "absent"})
            ),
            "shown, withheld or absent",
        ),
        (lambda c: change(c, "cells", one_more), "more than all together"),
        (lambda c: change(c, "sums", another_order), "other pairs than the scores"),
        (lambda c: c.__setitem__(GROUP, to_record({"cells": np.zeros(3)})), "replicates"),
    ],
)
def test_groups_that_contradict_the_counts_are_refused(
    edit: Callable[[RecordDict], None], problem: str
) -> None:
    counts, sent = site()
    content = RecordDict()
    sent.pack_into(content)
    edit(content)
    with pytest.raises(MessageError, match=problem):
        SiteGroups.unpack(content, ASKED, "test", counts)


def test_replicates_have_to_come_with_each_group() -> None:
    counts, sent = site()
    content = RecordDict()
    sent.pack_into(content)
    with pytest.raises(MessageError, match="expected shape"):
        SiteGroups.unpack(content, replace(ASKED, replicates=6), "test", counts)
