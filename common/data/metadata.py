"""Metadata as numbers and as groups, by public constants: nothing is fitted on patients.

A number becomes (x − mean) / scale, a category one place a value; both are followed by a flag that
is 1 where the value is missing, and zero before it. What cannot be read, is not in the list, or
stands in a column that the site does not give, is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.evaluation import Grouping
from common.model_settings import MetadataEncoding

_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}

Encodings = Mapping[str, MetadataEncoding]


def encoded_width(encodings: Encodings) -> int:
    """M, how many numbers an image's metadata become."""
    return sum(len(encoding.values) + 1 + (not encoding.values) for encoding in encodings.values())


def encode(
    columns: Mapping[str, Sequence[str]], encodings: Encodings, count: int
) -> NDArray[np.float32]:
    """The metadata of some images.

    Args:
        columns: what a site gives: column name to ``count`` texts.
        encodings: what the model takes, in its order.
        count: n images.

    Returns:
        float32 (n, M).
    """
    parts = [np.zeros((count, 0), np.float32)]
    for name, encoding in encodings.items():
        texts = columns.get(name, [""] * count)
        parts.append(_categories(texts, encoding) if encoding.values else _numbers(texts, encoding))
    return np.concatenate(parts, axis=1)


def group_of(texts: Sequence[str], grouping: Grouping) -> NDArray[np.int64]:
    """The place in ``grouping.names`` of each of n texts of a column: int64 (n,)."""
    if grouping.values:
        return _places(texts, grouping.values)
    values = _values(texts)
    bands = np.searchsorted(grouping.bands, values, side="right") - 1
    return np.where(np.isfinite(values) & (bands >= 0), bands, len(grouping.bands))


def _categories(texts: Sequence[str], encoding: MetadataEncoding) -> NDArray[np.float32]:
    return np.eye(len(encoding.values) + 1, dtype=np.float32)[_places(texts, encoding.values)]


def _places(texts: Sequence[str], values: Sequence[str]) -> NDArray[np.int64]:
    """Which of ``values`` each text is; one more than the last where it is none."""
    places = {value.strip().casefold(): place for place, value in enumerate(values)}
    found = [places.get(text.strip().casefold(), len(values)) for text in texts]
    return np.array(found, dtype=np.int64)


def _numbers(texts: Sequence[str], encoding: MetadataEncoding) -> NDArray[np.float32]:
    values = _values(texts)
    scaled = ((values - (encoding.mean or 0)) / (encoding.scale or 1)).astype(np.float32)
    missing = ~np.isfinite(scaled)
    return np.stack([np.where(missing, np.float32(0), scaled), missing], axis=1, dtype=np.float32)


def _values(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([_number(text) for text in texts], dtype=np.float64)


def _number(text: str) -> float:
    """A number, or an age as DICOM writes it (AS, PS3.5 section 6.2) in years; else NaN."""
    text = text.strip()
    age = _AGE.fullmatch(text)
    if age:
        return int(age[1]) / _PER_YEAR[age[2]]
    try:
        return float(text)
    except ValueError:
        return math.nan
