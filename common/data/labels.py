"""A site's label texts to zeros, ones and NaN, which stands for unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.config import SourceSettings, TaskSettings
from common.data.label_columns import class_of_columns, encode_columns
from common.errors import DataError
from common.schema import suggest

Cells = Mapping[str, str]


def encode_labels(
    rows: Sequence[Cells], source: SourceSettings, task: TaskSettings, classes: tuple[str, ...]
) -> NDArray[np.float32]:
    """Encode n rows' labels.

    Returns:
        float32 (n, K): 1, 0, or NaN where unknown. A single label is always known.

    Raises:
        DataError: naming every label that cannot be understood, with how often it stands there.
    """
    several = is_multi_label(source, task)
    if source.label_columns:
        return encode_columns(rows, source, classes, several)
    texts = [row[source.label_column] for row in rows]
    return LabelReader.of(source, task, classes).encode(texts)


def is_multi_label(source: SourceSettings, task: TaskSettings) -> bool:
    """Several labels an image: as the task says, else as the site's own labels can be."""
    return has_several_labels(source) if task.multi_label is None else task.multi_label


def has_several_labels(source: SourceSettings) -> bool:
    """Whether the site's rows can hold several labels."""
    return source.label_separator is not None or bool(source.label_columns)


def derive_classes(
    rows: Iterable[Cells], source: SourceSettings, task: TaskSettings
) -> tuple[str, ...]:
    """Sorted names that stand in the labels: for a simulation only, since it reads every site."""
    if source.label_columns:
        return tuple(dict.fromkeys(class_of_columns(source).values()))
    reader = LabelReader.of(source, task, ())
    return tuple(sorted({name for row in rows for name in reader.names(row[source.label_column])}))


@dataclass(frozen=True)
class LabelReader:
    """Translates the texts of one column into the shared classes.

    A label goes through the site's ``label_map`` first. The ``negative_label`` of a multi-label
    list stands for none of the classes. A label that is neither is refused by name.
    """

    classes: tuple[str, ...]
    separator: str | None
    negative_label: str | None
    label_map: Mapping[str, str]
    blank: str = "refuse"
    """What a blank list is taken for; see ``SourceSettings.blank_labels``."""

    @staticmethod
    def of(source: SourceSettings, task: TaskSettings, classes: tuple[str, ...]) -> LabelReader:
        separator = (source.label_separator or "|") if is_multi_label(source, task) else None
        return LabelReader(
            classes, separator, task.negative_label, source.label_map, source.blank_labels
        )

    def names(self, text: str) -> list[str]:
        """The shared names in one cell; empty where the cell means none of the classes."""
        if self.separator is None:
            return self._words(text)
        return [name for name in self._words(text) if name and name != self.negative_label]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode n cells as float32 (n, K).

        Raises:
            DataError: naming every label outside the classes, with how often it stands there.
        """
        rows = [self.names(text) for text in texts]
        if self.separator is not None and self.negative_label is not None:
            self._check_negatives(texts)
        unknown = Counter(name for row in rows for name in row if name not in self.classes)
        if unknown:
            raise DataError(self._refusal(unknown))
        labels = np.zeros((len(rows), len(self.classes)), dtype=np.float32)
        index = {name: k for k, name in enumerate(self.classes)}
        for i, row in enumerate(rows):
            for name in row:
                labels[i, index[name]] = 1.0
            if self.separator is not None and self.blank == "ignore" and not texts[i].strip():
                labels[i] = np.nan
        return labels

    def _check_negatives(self, texts: Sequence[str]) -> None:
        """A blank cell is unknown, not healthy; and none of the classes excludes each of them."""
        blank = sum(not text.strip() for text in texts)
        both = sum(
            self.negative_label in self._words(text) and bool(self.names(text)) for text in texts
        )
        problems = []
        if blank and self.blank == "refuse":
            problems.append(
                f"{blank} rows have no label: write '{self.negative_label}' for none of the "
                "classes, leave those rows out, or set data.blank_labels"
            )
        if both:
            problems.append(f"{both} rows have '{self.negative_label}' beside another label")
        if problems:
            raise DataError("\n".join(problems))

    def _words(self, text: str) -> list[str]:
        words = text.split(self.separator) if self.separator else [text]
        return [self.label_map.get(word.strip(), word.strip()) for word in words]

    def _refusal(self, unknown: Mapping[str, int]) -> str:
        lines = [
            f"label '{name}' ({count} rows) is not in data.classes{suggest(name, self.classes)}"
            for name, count in sorted(unknown.items())
        ]
        return "\n".join([*lines, "translate a site's own labels with data.label_map"])
