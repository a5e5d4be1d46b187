"""Reader for a CSV table beside a folder of images (``data=table``)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter

from common.config import SourceSettings, TaskSettings
from common.data.labels import LabelReader
from common.data.manifest import Manifest
from common.errors import DataError
from common.schema import suggest

Row = Mapping[str, str]


def read_manifest(source: SourceSettings, task: TaskSettings, classes: tuple[str, ...]) -> Manifest:
    """Read one site's table into a manifest.

    Args:
        source: the site's own paths and column names.
        task: the shared task.
        classes: the ordered public classes.

    Raises:
        DataError: on a missing folder or table, an unreadable table, an unknown column, an unknown
            label, a missing image, an empty patient id, or when no row is left.
    """
    rows = read_rows(source)
    root = root_of(source)
    files = tuple(image_path(row, source) for row in rows)
    check_files(root, files)
    manifest = Manifest(
        root=root,
        files=files,
        patients=_patients(rows, files, source),
        labels=LabelReader.of(source, task, classes).encode(
            [row[source.label_column] for row in rows]
        ),
        classes=classes,
        metadata={c: tuple(row[c] for row in rows) for c in source.metadata_columns},
    )
    if not len(manifest):
        raise DataError(f"{table_path(source)}: no rows are left to train on{_filter_text(source)}")
    return manifest


def read_rows(source: SourceSettings) -> list[Row]:
    """The table's rows that belong to this site and are not excluded, columns checked."""
    path = table_path(source)
    if not root_of(source).is_dir():
        raise DataError(f"data.root: expected a folder, and there is none at {root_of(source)}")
    if not path.is_file():
        raise DataError(f"data.table: expected a CSV table, and there is none at {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = list(reader.fieldnames or [])
            check_columns(columns, source, path)
            rows = [row for row in reader if _belongs(row, source)]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(
            f"{path}: expected a CSV table in UTF-8, but it cannot be read: {error}"
        ) from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise DataError(
                f"{path}: row {number} has not as many cells as the header's {len(columns)}"
            )
    excluded = set(source.exclude)
    return [row for row in rows if image_path(row, source) not in excluded]


def root_of(source: SourceSettings) -> Path:
    if source.root is None:
        raise DataError("data.root must be given: the folder that holds the table")
    return Path(source.root)


def table_path(source: SourceSettings) -> Path:
    return root_of(source) / source.table


def image_path(row: Row, source: SourceSettings) -> str:
    """Path of a row's image under the root, by ``image_column`` or ``image_pattern``."""
    if source.image_column is not None:
        return row[source.image_column]
    if source.image_pattern is None:
        raise DataError("give data.image_column or data.image_pattern: where a row's image is")
    return source.image_pattern.format_map(row)


def check_columns(columns: list[str], source: SourceSettings, path: Path) -> None:
    """Every column that the settings name must stand in the table's header."""
    named: dict[str, list[str | None]] = {
        "data.label_column": [source.label_column],
        "data.image_column": [source.image_column],
        "data.patient_column": [source.patient_column],
        "data.site_column": [source.site_column],
        "data.metadata_columns": list(source.metadata_columns),
        "data.image_pattern": _pattern_columns(source.image_pattern),
    }
    problems = [
        f"{path}: {setting} names the column '{column}', which the table lacks"
        f"{suggest(column, columns)}"
        for setting, wanted in named.items()
        for column in wanted
        if column is not None and column not in columns
    ]
    if problems:
        raise DataError("\n".join(problems))


def check_files(root: Path, files: Iterable[str]) -> None:
    """Every image must exist, and stand under the root."""
    inside = root.resolve()
    missing, outside = [], []
    for file in files:
        path = root / file
        if ".." in Path(file).parts or Path(file).is_absolute():
            outside.append(file)
        elif not path.is_file():
            missing.append(file)
    if outside:
        raise DataError(f"{len(outside)} images lie outside {inside}, the first: {outside[0]}")
    if missing:
        raise DataError(
            f"{len(missing)} images of the table are missing, the first: {root / missing[0]}"
        )


def _pattern_columns(pattern: str | None) -> list[str | None]:
    return [name for _, name, _, _ in Formatter().parse(pattern or "") if name]


def _belongs(row: Row, source: SourceSettings) -> bool:
    if source.site_column is None or source.site_value is None:
        return True
    return row[source.site_column] == source.site_value


def _patients(rows: list[Row], files: tuple[str, ...], source: SourceSettings) -> tuple[str, ...]:
    column = source.patient_column
    if column is None:
        return files
    patients = tuple(row[column].strip() for row in rows)
    empty = sum(not patient for patient in patients)
    if empty:
        raise DataError(
            f"{table_path(source)}: {empty} rows have no '{column}'. Without an id, images of one "
            "person count as several people; complete the table or leave those rows out"
        )
    return patients


def _filter_text(source: SourceSettings) -> str:
    if source.site_column is None:
        return ""
    return f" where '{source.site_column}' is '{source.site_value}'"
