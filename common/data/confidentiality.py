"""Which elements of a DICOM header identify a person, by the standard's own table.

PS3.15, table E.1-1 (Basic Application Level Confidentiality Profile), stands in
``basic_profile.txt``. What is found is told by name alone, never by value. A value that was
replaced by a dummy looks like any other here, so a tag that is found is a question, not a verdict.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from common.data.decoding.tags import tag_name

PRIVATE = "private elements"
"""Every attribute of an odd group: anything may stand in them."""
CURVES, OVERLAYS = "curve data (50xx,eeee)", "overlay data or comments (60xx,3000 or 4000)"


@cache
def basic_profile() -> frozenset[int]:
    """The tags of the table, as numbers.

    Raises:
        ValueError: where a word of the file is neither a keyword nor a number.
    """
    text = files("common.data").joinpath("basic_profile.txt").read_text(encoding="ascii")
    words = [w for line in text.splitlines() if not line.startswith("#") for w in line.split()]
    found = (tag_for_keyword(word) for word in words)
    return frozenset(
        int(w, 16) if tag is None else tag for w, tag in zip(words, found, strict=True)
    )


def identifying_tags(header: Dataset) -> list[str]:
    """Names of the elements that identify and hold something, at any depth, sorted."""
    names = set()
    for element in header.iterall():
        if element.value is None or (hasattr(element.value, "__len__") and not len(element.value)):
            continue
        name = _name(int(element.tag))
        if name is not None:
            names.add(name)
    return sorted(names)


def _name(tag: int) -> str | None:
    """What the table calls an element; ``None`` where it may stay."""
    group, number = tag >> 16, tag & 0xFFFF
    if group % 2:
        return PRIVATE
    if 0x5000 <= group < 0x5100:
        return CURVES
    if 0x6000 <= group < 0x6100 and number in (0x3000, 0x4000):
        return OVERLAYS
    return tag_name(tag) if tag in basic_profile() else None
