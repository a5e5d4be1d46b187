"""Labels that have a column each (``data.label_columns``), as in CheXpert and MIMIC-CXR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.config import SourceSettings
from common.errors import DataError
from common.schema import suggest

MEANINGS = {"zeros": 0.0, "ones": 1.0, "ignore": np.nan}


def class_of_columns(source: SourceSettings) -> dict[str, str]:
    """Each column's class: the column's own name, or what ``data.label_map`` makes of it."""
    return {column: source.label_map.get(column, column) for column in source.label_columns}


def encode_columns(
    rows: Sequence[Mapping[str, str]],
    source: SourceSettings,
    classes: tuple[str, ...],
    multi_label: bool,
) -> NDArray[np.float32]:
    """Encode n rows, each with one cell a label: 1, 0, -1 (uncertain) or blank.

    A class that two columns stand for is there where either is 1. A class that no column stands
    for is unknown at this site.

    Returns:
        float32 (n, K), NaN where unknown; with a single label one 1 a row.

    Raises:
        DataError: on a column that is no class, and on cells that cannot be understood, each
            with how often it stands there.
    """
    mapping = class_of_columns(source)
    strangers = [name for name in mapping.values() if name not in classes]
    if strangers:
        raise DataError(
            f"data.label_columns: '{strangers[0]}' is not in data.classes"
            f"{suggest(strangers[0], classes)}; leave its column out, or use data.label_map"
        )
    value_of = _meaning(source)
    labels = np.full((len(rows), len(classes)), np.nan, dtype=np.float32)
    problems = []
    for name in dict.fromkeys(mapping.values()):
        own = []
        for column in (c for c, mapped in mapping.items() if mapped == name):
            texts = [row[column].strip() for row in rows]
            problems += _not_understood(column, texts, value_of)
            own.append([value_of.get(text, np.nan) for text in texts])
        stacked = np.array(own, dtype=np.float32)
        labels[:, classes.index(name)] = np.where(
            (stacked == 1).any(axis=0),
            1.0,
            stacked.max(axis=0),  # NaN where any is unknown
        )
    if problems:
        raise DataError("\n".join(problems))
    if not multi_label:
        one = ((labels == 1).sum(axis=1) == 1) & ~np.isnan(labels).any(axis=1)
        wrong = int((~one).sum())
        if wrong:
            raise DataError(
                f"{wrong} rows have none or several of data.label_columns, where an image has one "
                "label: correct them, or set data.multi_label=true"
            )
    return labels


def _meaning(source: SourceSettings) -> dict[str, float]:
    """What each text stands for; what is refused is left out."""
    meaning = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}
    if source.uncertain_labels != "refuse":
        meaning |= dict.fromkeys(("-1", "-1.0"), MEANINGS[source.uncertain_labels])
    if source.blank_labels != "refuse":
        meaning[""] = MEANINGS[source.blank_labels]
    return meaning


def _not_understood(column: str, texts: Sequence[str], meaning: Mapping[str, float]) -> list[str]:
    advice = {
        "": "; data.blank_labels says what that means",
        "-1": "; data.uncertain_labels says what that means",
        "-1.0": "; data.uncertain_labels says what that means",
    }
    return [
        f"column '{column}': expected 1, 0, -1 or nothing, got '{text}' ({count} rows)"
        f"{advice.get(text, '')}"
        for text, count in sorted(Counter(t for t in texts if t not in meaning).items())
    ]
