"""Records from CSV tables beside a folder of images (``data.layout=table``)."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.config import SourceSettings
from common.data.records import (
    Record,
    check_columns,
    path_regex,
    pattern_columns,
    root_of,
)
from common.errors import DataError
from common.schema import suggest

Row = dict[str, str]


def read_table(source: SourceSettings) -> list[Record]:
    """Every row of the table, or of all tables where ``data.table`` holds ``*``.

    Raises:
        DataError: on a missing or unreadable table, or an unknown column.
    """
    root = root_of(source)
    further = [(name, *read_rows(root / name)) for name in source.join_tables]
    records: list[Record] = []
    for path in table_paths(source):
        columns, rows = read_rows(path)
        for name, more_columns, more_rows in further:
            rows = join(rows, more_rows, _shared(columns, more_columns, path, name))
            columns = list(dict.fromkeys([*columns, *more_columns]))
        records += _records(rows, columns, source, path)
    return records


def table_paths(source: SourceSettings) -> list[Path]:
    """The tables that ``data.table`` names.

    Raises:
        DataError: where there is none.
    """
    root = root_of(source)
    paths = sorted(root.glob(source.table)) if "*" in source.table else [root / source.table]
    if not paths or not all(path.is_file() for path in paths):
        raise DataError(
            f"data.table: expected a CSV table, and there is none at {root / source.table}"
        )
    return paths


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """A table's columns and rows; one that ends in ``.gz`` is unpacked.

    Raises:
        DataError: where it is missing, no CSV in UTF-8, or has rows of different lengths.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns = next(reader, [])
            cells = [row for row in reader if row]
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise DataError(
            f"{path}: expected a CSV table in UTF-8, but it cannot be read: {error}"
        ) from error
    for number, row in enumerate(cells, start=1):
        if len(row) != len(columns):
            raise DataError(
                f"{path}: row {number} has not as many cells as the header's {len(columns)}"
            )
    return columns, [dict(zip(columns, row, strict=True)) for row in cells]


def join(rows: Sequence[Row], further: Sequence[Row], shared: Sequence[str]) -> list[Row]:
    """Rows with the columns of the one further row that has the same shared cells.

    Rows that have no partner are left out: nothing is known of them.

    Raises:
        DataError: where a further table has two rows for one.
    """
    partners: dict[tuple[str, ...], Row] = {}
    for row in further:
        key = tuple(row[column] for column in shared)
        if partners.setdefault(key, row) != row:
            raise DataError(
                f"data.join_tables: expected one row for each {' and '.join(shared)}, and there "
                "are several that differ"
            )
    keys = (tuple(row[column] for column in shared) for row in rows)
    return [row | partners[key] for row, key in zip(rows, keys, strict=True) if key in partners]


def _shared(columns: list[str], further: list[str], path: Path, name: str) -> list[str]:
    shared = [column for column in columns if column in further]
    if not shared:
        raise DataError(f"data.join_tables: {name} has no column in common with {path}")
    return shared


def _records(
    rows: list[Row], columns: list[str], source: SourceSettings, path: Path
) -> list[Record]:
    """Rows to records, with the path from the columns and, by a pattern, columns from the path."""
    pattern = source.image_pattern or ""
    from_path = source.image_column is not None and bool(pattern)
    every = [*columns, *pattern_columns(pattern)] if from_path else columns
    check_columns(every, source, path)
    lacking = [] if from_path else [c for c in pattern_columns(pattern) if c not in columns]
    if lacking:
        raise DataError(
            f"{path}: data.image_pattern names the column '{lacking[0]}', which is not there"
            f"{suggest(lacking[0], columns)}"
        )
    start = ""
    if "*" in source.table:
        start = path.parent.relative_to(root_of(source)).as_posix() + "/"
    records = []
    regex = path_regex(pattern) if from_path else None
    for row in rows:
        file = start + image_path(row, source)
        if regex is not None:
            row.update(_path_cells(regex, row[source.image_column or ""], pattern))
        records.append(Record(file, row, file))
    return records


def _path_cells(regex: re.Pattern[str], file: str, pattern: str) -> Row:
    found = regex.fullmatch(file)
    if found is None:
        raise DataError(f"data.image_pattern: expected paths as {pattern}, got {file}")
    return found.groupdict()


def image_path(row: Mapping[str, str], source: SourceSettings) -> str:
    """Path of a row's image, by ``image_column`` or else ``image_pattern``."""
    if source.image_column is not None:
        return row[source.image_column]
    if source.image_pattern is None:
        raise DataError("give data.image_column or data.image_pattern: where a row's image is")
    return source.image_pattern.format_map(row)
