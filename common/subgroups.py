"""What a site says of groups of metadata, beside its counts: who is counted, and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from common.data.split import Part
from common.errors import MessageError
from common.evaluation import EvaluationSettings
from common.metrics import Counts
from common.metrics.bootstrap import Replicates
from common.parameters import to_record
from common.wire import read_arrays

Status = Literal["shown", "withheld", "absent"]
"""Of a column at a site: counted by; not allowed by its policy; or not among what it has."""

RECORD = "subgroups"


@dataclass(frozen=True)
class SiteGroups:
    """One site's word on each column that was asked for.

    Attributes:
        statuses: by column.
        groups: of a column that is shown, what each group in the order of its names adds to the
            site's counts: first the group itself, and then each replicate of it.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    groups: Mapping[str, tuple[Replicates, ...]] = field(default_factory=dict)

    def pack_into(self, content: RecordDict) -> None:
        """Add it to an answer's content."""
        if self.statuses:
            content[RECORD] = ConfigRecord(dict(self.statuses))
        for column, groups in self.groups.items():
            for place, group in enumerate(groups):
                content[_name(column, place)] = to_record(group.to_arrays())

    @staticmethod
    def unpack(
        content: RecordDict, settings: EvaluationSettings, part: Part, counts: Counts | None
    ) -> SiteGroups:
        """Read what stands in an answer.

        Args:
            content: the answer's.
            settings: how it was asked to evaluate.
            part: the patients that were asked for.
            counts: those of the answer.

        Raises:
            MessageError: where a column that was asked for has no known status, or the groups of
                one contradict each other or the counts.
        """
        asked, draws = settings.subgroups_of(part), 1 + settings.replicates_of(part)
        told = content.config_records.get(RECORD, ConfigRecord())
        known = all(status in get_args(Status) for status in told.values())
        if set(told) != set(asked) or not known:
            raise MessageError(
                f"{RECORD}: expected shown, withheld or absent for each that is asked"
            )
        statuses: dict[str, Status] = {column: told[column] for column in asked}  # type: ignore[misc]
        groups = {}
        for column, grouping in asked.items():
            if counts is None or statuses[column] != "shown":
                continue
            names = [_name(column, place) for place in range(len(grouping.names))]
            groups[column] = tuple(
                Replicates.from_arrays(read_arrays(content, name), counts, draws) for name in names
            )
            _check(column, groups[column], counts)
        return SiteGroups(statuses, groups)


def _name(column: str, place: int) -> str:
    return f"group {place} of {column}"


def _check(column: str, groups: tuple[Replicates, ...], counts: Counts) -> None:
    """Groups are parts of what was counted: they share no image, and each is counts by itself."""
    together = np.sum([group.cells[0].astype(np.int64) for group in groups], axis=0)
    occupied = Replicates.pack(_one_draw(counts), counts).cells[0]
    if (together > occupied).any():
        raise MessageError(f"{RECORD}: the groups of '{column}' have more than all together")
    for group in groups:
        Replicates(group.cells[:1], group.sums[:1]).expand(counts).take(0).check()


def _one_draw(counts: Counts) -> Counts:
    """Counts as if they were the only replicate."""
    return Counts(**{name: value[None] for name, value in counts.to_arrays().items()})
