"""Names of images of which one file holds several: ``FILE#MEMBER-NUMBER``.

In an ``.npz`` the member is one of its arrays (``common/data/npz.py``). Of a DICOM file with
several frames, and of a TIFF with pages, it is ``frame`` (``common/data/frames.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FRAME = "frame"
_NAME = re.compile(r"(?P<file>.+)#(?P<member>\w+)-(?P<number>\d+)")


@dataclass(frozen=True)
class Place:
    """Where an image is within a file.

    Attributes:
        file: the file on disk.
        member: an array of an ``.npz``, or ``frame``.
        number: from 0.
    """

    file: Path
    member: str
    number: int

    @property
    def in_npz(self) -> bool:
        return self.file.suffix == ".npz"


def name_of(file: str, member: str, number: int) -> str:
    """The name of one image of a file."""
    return f"{file}#{member}-{number}"


def place_of(path: Path) -> Place | None:
    """Where an image of that name is; ``None`` where it is a file of its own."""
    found = _NAME.fullmatch(path.name) if "#" in path.name else None
    if found is None:
        return None
    place = Place(path.with_name(found["file"]), found["member"], int(found["number"]))
    return place if place.in_npz or place.member == FRAME else None


def file_of(path: Path) -> Path:
    """The file on disk that holds an image: its own, or the one that it is a part of."""
    place = place_of(path)
    return path if place is None else place.file
