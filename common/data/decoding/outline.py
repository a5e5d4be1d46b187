"""Where things lie in a DICOM file, found before any value is interpreted.

PS3.10 section 7 (preamble, prefix, file meta information), PS3.5 section 7 (data elements, nested
data sets), A.4 (encapsulated pixel data), A.5 (deflate). The walk needs no recursion and stops at
the pixels, so a file that is truncated, lies about a length or nests without end is refused at the
cost of reading its header.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from common.data.decoding.limits import MB, Limits
from common.data.decoding.tags import tag_name
from common.errors import DataError

PREFIX = slice(128, 132)
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
TRANSFER_SYNTAX = 0x00020010
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How a file without a prefix may begin: group 0002 or 0008, little endian, or 0008 big endian."""

_VRS = {vr.value.encode() for vr in VR}
_LONG = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32}
_LEVEL_END = 2**63


@dataclass(frozen=True)
class PixelElement:
    """The pixel element of the top level: its value is ``body[start:end]``."""

    tag: int
    vr: str
    start: int
    end: int
    encapsulated: bool
    fragments: int
    """Of an encapsulated element: its items behind the offset table (PS3.5 A.4)."""


@dataclass(frozen=True)
class Outline:
    """A data set's bytes (inflated), their encoding, and where the header ends."""

    body: bytes
    start: int
    header_end: int
    implicit: bool
    little: bool
    syntax: UID | None
    """Transfer syntax; ``None`` where the file names none."""
    pixels: PixelElement | None


def is_dicom(data: bytes) -> bool:
    """A DICOM prefix, or a data set that begins as one does without it."""
    return data[PREFIX] == b"DICM" or data[:2] in FIRST_GROUPS


def outline(data: bytes, limits: Limits) -> Outline:
    """Find the data set, its encoding and its pixel element.

    Raises:
        DataError: where the file is no DICOM file, is truncated, or passes a limit.
    """
    if not is_dicom(data):
        raise DataError("it is neither a DICOM file nor a PNG, JPEG, BMP or TIFF image")
    start = 132 if data[PREFIX] == b"DICM" else 0
    syntax, start = _file_meta(data, start)
    body = data
    if syntax == DeflatedExplicitVRLittleEndian:
        body, start = _inflate(data[start:], limits.inflated_bytes), 0
    implicit, little = _encoding(body, start, syntax)
    walk = _Walk(body, little, limits)
    pixels, end = walk.run(start, implicit)
    if syntax is None and pixels is not None and not pixels.encapsulated:
        native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if implicit else native
    return Outline(body, start, end, implicit, little, syntax, pixels)


def _file_meta(data: bytes, position: int) -> tuple[UID | None, int]:
    """The transfer syntax that group 0002 names, and where the data set begins."""
    syntax = None
    while data[position : position + 2] == b"\x02\x00":
        tag, vr, length, value = _element(data, position, implicit=False, little=True)
        if vr is None:  # not conformant, and met: file meta in implicit VR
            tag, _, length, value = _element(data, position, implicit=True, little=True)
        if length == UNDEFINED or value + length > len(data):
            raise DataError(f"it is truncated, or {tag_name(tag)} lies about its length")
        if tag == TRANSFER_SYNTAX:
            text = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
            syntax = UID(text, pydicom.config.IGNORE)  # else it warns, and quotes the value
        position = value + length
    return syntax, position


def _encoding(body: bytes, start: int, syntax: UID | None) -> tuple[bool, bool]:
    """(implicit VR, little endian); the first element's VR decides over what the file says."""
    explicit = body[start + 4 : start + 6] in _VRS
    if syntax is None:
        return not explicit, not (explicit and body[start : start + 2] == b"\x00\x08")
    return not explicit, syntax != ExplicitVRBigEndian


def _inflate(deflated: bytes, most: int) -> bytes:
    """Inflate a whole data set, but never past the cap (a bomb stops there)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = stream.decompress(deflated, most + 1)
    except zlib.error:
        raise DataError("its deflated data set is damaged") from None
    if len(body) > most:
        raise DataError(f"its deflated data set inflates to more than {most // MB} MB")
    if not stream.eof:
        raise DataError("it is truncated: its deflated data set has no end")
    return body


_SHORT = {True: Struct("<HH2sH").unpack_from, False: Struct(">HH2sH").unpack_from}
_IMPLICIT = {True: Struct("<HHL").unpack_from, False: Struct(">HHL").unpack_from}
_LENGTH = {True: Struct("<L").unpack_from, False: Struct(">L").unpack_from}


def _element(
    body: bytes, position: int, implicit: bool, little: bool
) -> tuple[int, bytes | None, int, int]:
    """Tag, VR (``None`` where it is not written), length, and where the value begins."""
    try:
        if not implicit:
            group, element, vr, length = _SHORT[little](body, position)
            if vr in _LONG:
                return (
                    group << 16 | element,
                    vr,
                    _LENGTH[little](body, position + 8)[0],
                    (position + 12),
                )
            if group != 0xFFFE and (vr in _VRS or (vr.isalpha() and vr.isupper())):
                return group << 16 | element, vr, length, position + 8
        group, element, length = _IMPLICIT[little](body, position)
    except StructError:
        raise DataError("it is truncated in its header") from None
    return group << 16 | element, None, length, position + 8


class _Walk:
    """One pass over the header, with the levels of nesting on a list instead of the stack.

    A level is (end, implicit, is a sequence); the end of one of undefined length is never reached
    and its delimiter closes it.
    """

    def __init__(self, body: bytes, little: bool, limits: Limits) -> None:
        self.body, self.little, self.limits = body, little, limits
        self.levels: list[tuple[int, bool, bool]] = []
        self.depth = 0

    def run(self, position: int, implicit: bool) -> tuple[PixelElement | None, int]:
        """The top level's pixel element, and where the header before it ends."""
        for _ in range(self.limits.elements):
            while self.levels and position >= self.levels[-1][0]:
                self._leave()
            if position + 8 > len(self.body):
                if self.levels or position != len(self.body):
                    where = "within a sequence" if self.levels else "in its header"
                    raise DataError(f"it is truncated {where}")
                return None, position
            within = self.levels[-1][1] if self.levels else implicit
            tag, vr, length, value = _element(self.body, position, within, self.little)
            if not self.levels and tag in PIXELS:
                return self._pixels(tag, vr, length, value), position
            position = self._step(tag, vr, length, value, within)
        raise DataError(f"it has more than {self.limits.elements} data elements before its pixels")

    def _step(self, tag: int, vr: bytes | None, length: int, value: int, within: bool) -> int:
        """Where the next element begins, having entered or left a level."""
        end = _LEVEL_END if length == UNDEFINED else value + length
        if tag == ITEM and self.levels:
            self.levels.append((end, self.levels[-1][1], False))
            return value
        if tag in (ITEM_END, SEQUENCE_END):
            if self.levels and self.levels[-1][2] == (tag == SEQUENCE_END):
                self._leave()
            return value
        if length != UNDEFINED and end > len(self.body):
            raise DataError(f"it is truncated, or {tag_name(tag)} lies about its length")
        if vr == b"SQ" or length == UNDEFINED or (vr is None and _is_sequence(tag)):
            self.depth += 1
            if self.depth > self.limits.sequence_depth:
                raise DataError(f"sequences nest deeper than {self.limits.sequence_depth} levels")
            self.levels.append((end, within or vr == b"UN", True))
            return value
        return end

    def _leave(self) -> None:
        self.depth -= self.levels.pop()[2]

    def _pixels(self, tag: int, vr: bytes | None, length: int, value: int) -> PixelElement:
        name = "OW" if vr is None else vr.decode()
        if length != UNDEFINED:
            if value + length > len(self.body):
                raise DataError(f"it is truncated: {tag_name(tag)} claims more than is there")
            return PixelElement(tag, name, value, value + length, False, 0)
        position, items = value, 0
        while True:
            item, _, size, start = _element(self.body, position, True, self.little)
            if item == SEQUENCE_END:
                return PixelElement(tag, name, value, position, True, items - 1)
            if item != ITEM or size == UNDEFINED or start + size > len(self.body):
                raise DataError(f"it is truncated within the fragments of {tag_name(tag)}")
            position, items = start + size, items + 1


def _is_sequence(tag: int) -> bool:
    """In implicit VR only the dictionary tells that an element is a sequence."""
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
