"""From a site's own files to its manifest, whatever their layout.

1. the layout's reader lists the images, each with its columns
2. the rows of this site are kept, and what is excluded is left out
3. several rows of one image become one, where they agree
4. the images' files are looked for, and each frame of one becomes a row, where all are wanted
5. labels are encoded and patients are named
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common.config import Layout, SourceSettings, TaskSettings
from common.data.folder import read_folder
from common.data.frames import with_every_frame
from common.data.headers import read_headers
from common.data.labels import encode_labels
from common.data.manifest import Manifest
from common.data.medmnist import read_medmnist
from common.data.places import place_of
from common.data.records import Record, root_of
from common.data.table import read_table
from common.errors import DataError

READERS: Mapping[Layout, Callable[[SourceSettings], list[Record]]] = {
    "table": read_table,
    "folder": read_folder,
    "medmnist": read_medmnist,
    "dicom": read_headers,
}


def read_manifest(
    source: SourceSettings, task: TaskSettings, classes: tuple[str, ...], *, look: bool = True
) -> Manifest:
    """Read one site's images into a manifest.

    Args:
        source: the site's own paths and column names.
        task: the shared task.
        classes: the ordered public classes.
        look: whether the images that a table names are looked for.

    Raises:
        DataError: on a missing folder or table, an unreadable table, an unknown column, an unknown
            label, a missing image, or when no image is left.
    """
    records = read_records(source)
    if not records:
        raise DataError(f"{root_of(source)}: no rows are left to train on{_filter_text(source)}")
    if look:
        check_files(source, [record.file for record in records])
    records = with_every_frame(records, source)
    return Manifest(
        root=root_of(source),
        files=tuple(record.file for record in records),
        patients=_patients(records, source),
        labels=encode_labels([record.cells for record in records], source, task, classes),
        classes=classes,
        metadata={c: tuple(r.cells[c] for r in records) for c in source.metadata_columns},
    )


def read_records(source: SourceSettings) -> list[Record]:
    """This site's images with their columns, before any label is read.

    Raises:
        DataError: on what cannot be read, and where rows of one image contradict each other.
    """
    excluded, column, value = set(source.exclude), source.site_column, source.site_value
    everyone = column is None or value is None
    records = [
        record
        for record in READERS[source.layout](source)
        if (everyone or record.cells[column or ""] == value) and record.file not in excluded
    ]
    _check_names(records, source)
    return _one_an_image(records, source)


def _check_names(records: Sequence[Record], source: SourceSettings) -> None:
    """A file that is named as a frame of another would be taken for it."""
    if source.layout == "medmnist":
        return
    named = [r.file for r in records if "#" in r.file and place_of(Path(r.file))]
    if named:
        raise DataError(
            f"{len(named)} files are named as images within a file are here (FILE#frame-0), the "
            f"first: {named[0]}; rename them"
        )


def check_files(source: SourceSettings, files: Sequence[str]) -> None:
    """Every image that a table names must exist, and stand under the root.

    Raises:
        DataError: with how many do not, and the first.
    """
    if source.layout != "table":  # the others list what is there
        return
    root = root_of(source)
    missing, outside = [], []
    for file in files:
        # A Path for each of a hundred thousand files would take a second, in every message.
        if ".." in file.split("/") or os.path.isabs(file):  # noqa: PTH117
            outside.append(file)
        elif not os.path.isfile(f"{root}/{file}"):  # noqa: PTH113
            missing.append(file)
    if outside:
        raise DataError(
            f"{len(outside)} images lie outside {root.resolve()}, the first: {outside[0]}"
        )
    if missing:
        raise DataError(
            f"{len(missing)} images of the table are missing, the first: {root / missing[0]}"
        )


def _one_an_image(records: Sequence[Record], source: SourceSettings) -> list[Record]:
    """Some tables have a row a finding or a box: several rows an image."""
    columns = source.label_columns or (source.label_column,)
    if source.patient_column is not None:
        columns = (*columns, source.patient_column)
    first: dict[str, Record] = {}
    differing = []
    for record in records:
        known = first.setdefault(record.file, record)
        if known is not record and any(known.cells[c] != record.cells[c] for c in columns):
            differing.append(record.file)
    if differing:
        raise DataError(
            f"{len(differing)} rows say of an image what another row of it does not, in "
            f"{', '.join(columns)}; the first is of {differing[0]}: correct them, or leave the "
            "image out with data.exclude"
        )
    return list(first.values())


def _patients(records: Sequence[Record], source: SourceSettings) -> tuple[str, ...]:
    column = source.patient_column
    if column is None:
        return tuple(record.image_id for record in records)
    return tuple(record.cells[column].strip() for record in records)


def _filter_text(source: SourceSettings) -> str:
    if source.site_column is None:
        return ""
    return f" where '{source.site_column}' is '{source.site_value}'"
