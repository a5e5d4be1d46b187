"""A site's images as far as they can be told, before anything is refused.

Training takes a manifest or nothing. A report has to say what is wrong with all of it, so here each
step that fails leaves a problem and what the steps before it gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.site import Site
from common.config import SourceSettings, TaskSettings
from common.data.decoding.outline import is_dicom
from common.data.decoding.plain import is_plain
from common.data.decoding.process import Refusal
from common.data.frames import with_every_frame
from common.data.headers import refused_headers
from common.data.labels import derive_classes, encode_labels, has_several_labels
from common.data.layouts import check_files, read_records
from common.data.manifest import Manifest
from common.data.places import file_of
from common.data.records import Record, list_files, root_of
from common.errors import DataError

HEAD_BYTES = 132


@dataclass(frozen=True)
class Listing:
    """The images that a site's settings name.

    Attributes:
        manifest: n images. Its classes are all those that the labels hold; where labels cannot be
            told there are none, and where patients cannot, each image has its own path.
        refused: files that are in no manifest, since their header cannot be read.
        excluded_in_vain: what ``data.exclude`` names and is not there: a slip would leave it in.
        labels_missing: images without a label.
        has_patients: whether the ids are patients'.
        problems: why training could not start, a line each.
    """

    manifest: Manifest
    refused: tuple[Refusal, ...]
    excluded_in_vain: tuple[str, ...]
    labels_missing: int
    has_patients: bool
    problems: tuple[str, ...]


def list_images(site: Site, task: TaskSettings) -> Listing:
    """Read a site's table, folder or headers.

    Args:
        site: whose ``data`` say where the images are.
        task: its public classes are not asked of the labels here; ``negative_label`` is none.

    Raises:
        DataError: where there is no such folder, or nothing in it.
    """
    source, problems = site.settings.data, []
    root = root_of(source)
    try:
        records = read_records(source)
        if not records:
            raise DataError(f"{root}: no image is left, of those that the settings name")
    except DataError as error:
        return list_folder(root, str(error).splitlines())
    try:
        check_files(source, [record.file for record in records])
    except DataError as error:
        problems += str(error).splitlines()
    records = with_every_frame(records, source)
    classes, labels, missing = _labels(records, source, task, problems)
    patients = source.patient_column
    manifest = Manifest(
        root=root,
        files=tuple(record.file for record in records),
        patients=tuple(r.cells[patients].strip() if patients else r.image_id for r in records),
        labels=labels,
        classes=classes,
        metadata={c: tuple(r.cells[c] for r in records) for c in source.metadata_columns},
    )
    refused = tuple(refused_of(source))
    has_patients = patients is not None
    in_vain = tuple(f for f in source.exclude if not file_of(root / f).is_file())
    shared = site.share(manifest)
    return Listing(shared, refused, in_vain, missing, has_patients, tuple(problems))


def list_folder(root: Path, problems: Sequence[str]) -> Listing:
    """Every image file of a folder of which no more is known.

    Raises:
        DataError: where there is none.
    """
    files = tuple(file for file in list_files(root) if looks_like_an_image(root / file))
    if not files:
        raise DataError(f"{root}: expected images, and there is no DICOM, PNG, JPEG, BMP or TIFF")
    labels = np.zeros((len(files), 0), dtype=np.float32)
    manifest = Manifest(root, files, files, labels, (), {})
    return Listing(manifest, (), (), len(files), has_patients=False, problems=tuple(problems))


def refused_of(source: SourceSettings) -> list[Refusal]:
    """Files that no record is made of, since only their header would say whose they are."""
    return refused_headers(source) if source.layout == "dicom" else []


def looks_like_an_image(path: Path) -> bool:
    """By the first bytes alone: whether it can be read is found when it is."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return False
    return is_plain(head) or is_dicom(head)


def _labels(
    records: Sequence[Record], source: SourceSettings, task: TaskSettings, problems: list[str]
) -> tuple[tuple[str, ...], np.ndarray, int]:
    """Classes, labels float32 (n, K), and how many images have none."""
    cells = [record.cells for record in records]
    columns = source.label_columns or (source.label_column,)
    blank = [not any(row[column].strip() for column in columns) for row in cells]
    if any(blank) and not (has_several_labels(source) and source.blank_labels != "refuse"):
        problems.append(
            f"{sum(blank)} images have no label in {', '.join(columns)}: complete the labels, "
            "leave those images out with data.exclude, or set data.blank_labels"
        )
    known = [row for row, empty in zip(cells, blank, strict=True) if not empty]
    classes = derive_classes(known, source, task)
    labels = np.full((len(cells), len(classes)), np.nan, dtype=np.float32)
    try:
        labels[~np.array(blank)] = encode_labels(known, source, task, classes)
    except DataError as error:
        problems += str(error).splitlines()
    return classes, labels, sum(blank)
