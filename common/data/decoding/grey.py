"""From stored values to grey levels, as the standard's display pipeline has it.

    1. modality: a table, or slope and intercept            PS3.3 C.11.1
    2. VOI: a table, or a window                            PS3.3 C.11.2
    3. scale to [0, 1]: by the VOI's own output range; where there is none, by the image's own
       extremes; or as ``intensity.py`` has it
    4. MONOCHROME1 is inverted                              PS3.3 C.7.6.3.1.2

pydicom has functions for the steps 1 and 2. They are right for most files and an oracle in the
tests; they are not used here since they invert the window's output where the rescale slope is
negative, wrap a table's index at the width of its entries, and want tables in the machine's byte
order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from common.data.decoding.tags import named
from common.errors import DataError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A lookup table: an input below the first gives the first entry, one beyond the last."""

    first: int
    entries: Values

    def __call__(self, values: Values) -> Values:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])


@dataclass(frozen=True)
class Window:
    """One window (PS3.3 C.11.2.1.2 and C.11.2.1.3), with an output range of [0, 1]."""

    centre: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: Values) -> Values:
        if self.function == "SIGMOID":  # Equation C.11-1
            with np.errstate(over="ignore"):
                return np.asarray(1 / (1 + np.exp(-4 * (values - self.centre) / self.width)))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        centre, width = self.centre - 0.5, self.width - 1
        if width == 0:
            return np.asarray(values > centre, dtype=np.float64)
        return np.clip((values - centre) / width + 0.5, 0, 1)


@dataclass(frozen=True)
class Greys:
    """The pipeline of one frame."""

    modality: Table | tuple[float, float] | None
    """A table, or slope and intercept."""
    voi: Table | Window | None
    inverted: bool

    @staticmethod
    def of(dataset: Dataset, frame: int, view: int, little: bool) -> Greys:
        """Read the pipeline of a frame.

        Args:
            dataset: the header; not changed.
            frame: from 0; what its functional groups say (PS3.3 C.7.6.16) comes first.
            view: which of several tables or windows; the first where there are fewer.
            little: byte order of tables that are stored as bytes.

        Raises:
            DataError: naming the element that cannot be used.
        """
        rescale = _functional_group(dataset, frame, "PixelValueTransformationSequence")
        shown = _functional_group(dataset, frame, "FrameVOILUTSequence")
        signed = dataset.get("PixelRepresentation") == 1
        return Greys(
            modality=_modality(rescale or dataset, signed, little),
            voi=_voi(shown or dataset, view, signed, little),
            inverted=str(dataset.get("PhotometricInterpretation")).strip() == "MONOCHROME1",
        )

    @property
    def monotone(self) -> bool:
        return not isinstance(self.modality, Table) and not isinstance(self.voi, Table)

    def __call__(self, values: Values) -> Values:
        """Steps 1 and 2, any shape; in [0, 1] where there is a VOI."""
        if isinstance(self.modality, Table):
            values = self.modality(values)
        elif self.modality is not None:
            values = values * self.modality[0] + self.modality[1]
        return values if self.voi is None else self.voi(values)


def scale_to_unit(values: Values, low: float, high: float) -> NDArray[np.float32]:
    """[low, high] to [0, 1], and what lies beyond to its ends; an image of one value is black."""
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def _functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """A macro of an enhanced multi-frame object: the frame's own, or else the shared one."""
    for groups, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = dataset.get(groups) or []
        if index < len(items) and items[index].get(keyword):
            found: Dataset = items[index].get(keyword)[0]
            return found
    return None


def _modality(item: Dataset, signed: bool, little: bool) -> Table | tuple[float, float] | None:
    if item.get("ModalityLUTSequence"):
        return _table(item.ModalityLUTSequence[0], signed, little)[0]
    slope, intercept = _numbers(item, "RescaleSlope"), _numbers(item, "RescaleIntercept")
    if not slope and not intercept:
        return None
    if slope and slope[0] == 0:
        raise DataError(f"{named('RescaleSlope')} is zero")
    return (slope or [1.0])[0], (intercept or [0.0])[0]


def _voi(item: Dataset, view: int, signed: bool, little: bool) -> Table | Window | None:
    """Tables before windows, as most displays do: the standard leaves the choice open."""
    tables = item.get("VOILUTSequence")
    if tables:
        table, full = _table(tables[view if view < len(tables) else 0], signed, little)
        return Table(table.first, table.entries / full)
    centres, widths = _numbers(item, "WindowCenter"), _numbers(item, "WindowWidth")
    if not centres or not widths:
        return None
    index = view if view < min(len(centres), len(widths)) else 0
    function = str(item.get("VOILUTFunction") or "LINEAR").strip().upper()
    window = Window(centres[index], widths[index], function)
    if window.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DataError(f"{named('VOILUTFunction')} is none of the standard's")
    if window.width < (1 if window.function == "LINEAR" else 1e-9):
        raise DataError(f"{named('WindowWidth')} is too small for its function")
    return window


def _table(item: Dataset, signed: bool, little: bool) -> tuple[Table, int]:
    """One item of a LUT sequence (PS3.3 C.11.1.1), and the greatest entry that its bits allow."""
    try:
        count, first, bits = descriptor(item.get("LUTDescriptor"), signed, little)
        data = entries(item.get("LUTData"), count, bits, little)
    except Exception:
        raise DataError(f"{named('LUTDescriptor')} or {named('LUTData')} is damaged") from None
    bits = max(bits, int(data.max()).bit_length())  # writers are met that say too few
    return Table(first, data.astype(np.float64)), 2**bits - 1


def descriptor(value: Any, signed: bool, little: bool) -> tuple[int, int, int]:
    """Entries, first value mapped and bits an entry (PS3.3 C.7.6.3.1.5, C.11.1.1)."""
    if isinstance(value, bytes):
        value = np.frombuffer(value, dtype="<u2" if little else ">u2")
    count, first, bits = (int(number) for number in value)
    if signed and first >= 2**15:
        first -= 2**16
    if not signed and first < 0:
        first += 2**16
    if not 1 <= bits <= 16:
        raise ValueError
    return count % 2**16 or 2**16, first, bits


def entries(value: Any, count: int, bits: int, little: bool) -> NDArray[np.uint16]:
    """A table's entries, which are stored as numbers or as bytes of 8 or 16 bits."""
    if not isinstance(value, bytes):
        data = np.asarray(value, dtype=np.int64).astype(np.uint16)
    elif bits <= 8 and len(value) in (count, count + 1):
        data = np.frombuffer(value, dtype=np.uint8).astype(np.uint16)
    else:
        data = np.frombuffer(value[: 2 * count], "<u2" if little else ">u2").astype(np.uint16)
    if data.ndim != 1 or len(data) < count:
        raise ValueError
    return data[:count]


def _numbers(item: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an element; none where it is absent or empty."""
    try:
        value = item.get(keyword)
        many = value if isinstance(value, list) or hasattr(value, "append") else [value]
        numbers = [float(number) for number in many if number not in (None, "")]
    except Exception:
        raise DataError(f"{named(keyword)} is no number") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{named(keyword)} is not finite")
    return numbers
