"""What every layout gives: a record an image, with its path and its columns as text.

A path and columns are tied by ``data.image_pattern``, as ``{label}/{patient}_{view}.png``. Where
the columns are known, as in a table, it makes the path. Where the path is known, as in a listing of
a folder, it makes the columns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from common.config import SourceSettings
from common.errors import DataError
from common.schema import suggest

OVERLAY_SUFFIX = ".explained.png"
"""Ends the names of what ``fedrounds explain`` writes beside images."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a site.

    Attributes:
        file: its path under the root, or its place in an ``.npz`` (``common/data/npz.py``).
        cells: column name to text.
        image_id: what stands for the patient where there is no patient id.
    """

    file: str
    cells: Mapping[str, str]
    image_id: str


def root_of(source: SourceSettings) -> Path:
    """The folder that everything of a site stands under.

    Raises:
        DataError: where none is given, or none is there.
    """
    if source.root is None:
        raise DataError("data.root must be given: the folder that holds the images")
    root = Path(source.root)
    if not root.is_dir():
        raise DataError(f"data.root: expected a folder, and there is none at {root}")
    return root


def pattern_columns(pattern: str | None) -> list[str]:
    """The columns in a pattern's braces, each once; ``{id:.2}``, the first two letters, is ``id``.

    Raises:
        ValueError: on braces that do not match.
    """
    return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(pattern or "") if name))


def path_regex(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression: each column is some of one folder's or file's name.

    A column that stands there twice must be the same text twice.

    Raises:
        ValueError: on braces that do not match, a column whose name is no identifier, or a format.
    """
    parts, seen = [], set[str]()
    for literal, name, spec, conversion in Formatter().parse(pattern):
        parts.append(re.escape(literal))
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError("expected plain names in its braces, of letters, digits and '_'")
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
        seen.add(name)
    return re.compile("".join(parts))


def list_files(root: Path) -> Iterator[str]:
    """Every file under ``root`` by its path from there.

    What is hidden, DICOMDIRs and what was written about an image are no images. Links to folders
    are not followed.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in sorted(files):
            if not (name.startswith(".") or name == "DICOMDIR" or name.endswith(OVERLAY_SUFFIX)):
                yield name if start == "." else f"{start}/{name}"


def check_columns(columns: Collection[str], source: SourceSettings, where: Path) -> None:
    """Every column that the settings name must be there.

    Args:
        columns: those that there are.
        source: the site's settings.
        where: what has these columns.

    Raises:
        DataError: naming every column that is missing, with the setting that names it.
    """
    labels = source.label_columns or (source.label_column,)
    named: dict[str, Collection[str | None]] = {
        "data.label_columns" if source.label_columns else "data.label_column": labels,
        "data.image_column": [source.image_column],
        "data.patient_column": [source.patient_column],
        "data.site_column": [source.site_column],
        "data.metadata_columns": source.metadata_columns,
    }
    problems = [
        f"{where}: {setting} names the column '{column}', which is not there"
        f"{suggest(column, columns)}"
        for setting, wanted in named.items()
        for column in wanted
        if column is not None and column not in columns
    ]
    if problems:
        raise DataError("\n".join(problems))
