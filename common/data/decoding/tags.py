"""Names of tags: the only thing of a data set that may stand in a message."""

from __future__ import annotations

from pydicom.datadict import keyword_for_tag, tag_for_keyword


def tag_name(tag: int) -> str:
    """``Rows (0028,0010)``; the number alone where the dictionary has no keyword."""
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    keyword = keyword_for_tag(tag)
    return f"{keyword} {number}" if keyword else number


def named(keyword: str) -> str:
    """As :func:`tag_name`, from the keyword."""
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else tag_name(tag)
