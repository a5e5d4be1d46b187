"""How a folder of images is probably laid out, for a first ``site.yaml`` and a first report.

A guess from names and a look at the files; nothing trains on one. In this order: a MedMNIST file, a
table beside images, a folder a class, DICOM headers.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.gate.listing import HEAD_BYTES, looks_like_an_image
from common.config import SourceSettings
from common.data.decoding.outline import is_dicom
from common.data.records import list_files
from common.data.table import read_rows
from common.errors import DataError

UNITS = {
    "patient": "patient", "subject": "patient", "person": "patient", "participant": "patient",
    "case": "case", "lesion": "lesion",
}  # fmt: skip
"""What a column's name begins with, and the unit that it identifies; the first that is there."""
_ID = r"[ _-]?(id|number|no|key|code)?"
_LABEL = re.compile(
    r"label|finding|diagnos|^dx|class|target|categor|disease|patholog", re.IGNORECASE
)
_METADATA = re.compile(r"\b(age|sex|gender|view|localization|body[ _]?part)\b", re.IGNORECASE)
MOST_LABELS = 200
LOOKED_AT = 200
"""Rows or files that a guess is made from."""


@dataclass(frozen=True)
class Guess:
    """A probable layout.

    Attributes:
        source: the settings.
        how: what it was told by, for a person.
        to_do: what the person has to look at, a line each.
    """

    source: SourceSettings
    how: str
    to_do: tuple[str, ...] = ()


def guess_layout(folder: Path) -> Guess | None:
    """The layout of a folder; ``None`` where nothing fits."""
    return _medmnist(folder) or _table(folder) or _folder_a_class(folder) or _headers(folder)


def _medmnist(folder: Path) -> Guess | None:
    found = [path for path in sorted(folder.glob("*.npz")) if _has_parts(path)]
    if len(found) != 1:
        return None
    separator = "|" if found[0].name.startswith("chestmnist") else None
    source = SourceSettings(
        layout="medmnist",
        root=str(folder),
        table=found[0].name,
        image_column="file",
        label_column="label",
        label_separator=separator,
        unit_name="image",
    )
    return Guess(source, f"{found[0].name} holds arrays as MedMNIST's files do")


def _has_parts(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "train_images.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _table(folder: Path) -> Guess | None:
    """A CSV table whose rows lead to files; or one in each of several folders."""
    found = sorted(folder.glob("*.csv")) or sorted(folder.glob("*/*.csv"))
    for path in sorted(found, key=lambda path: path.name != "metadata.csv"):
        try:
            columns, rows = read_rows(path)
        except DataError:
            continue
        images = _image_columns(path.parent, columns, rows[:LOOKED_AT])
        if images is None:
            continue
        name = path.name if path.parent == folder else f"*/{path.name}"
        return _of_table(folder, name, columns, rows, images)
    return None


def _of_table(
    folder: Path,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    images: Mapping[str, str],
) -> Guess:
    to_do = []
    patient, unit = _patient_column(columns)
    if patient is None:
        to_do.append("patient_column: no column looks like a patient's id; the unit is the image")
    label = _label_column([c for c in columns if c != patient], rows)
    if label is None:
        to_do.append("label_column: no column looks like a label")
    texts = [row[label] for row in rows] if label else []
    source = SourceSettings(
        root=str(folder),
        table=table,
        image_column=images.get("column"),
        image_pattern=images.get("pattern"),
        label_column=label or "label",
        label_separator="|" if any("|" in text for text in texts) else None,
        patient_column=patient,
        metadata_columns=tuple(c for c in columns if _METADATA.search(c.replace("_", " "))),
        unit_name=unit,
    )
    return Guess(source, f"{table} is a table whose rows lead to images", tuple(to_do))


def _image_columns(
    folder: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> dict[str, str] | None:
    """The column with a path, or the pattern of a path, that most of the rows' images have."""
    if not rows:
        return None
    for column in columns:
        if _mostly((folder / row[column]).is_file() for row in rows if row[column]):
            return {"column": column}
    places: dict[str, Counter[str]] = {}
    for file in list_files(folder):
        path = Path(file)
        for known, shape in ((path.name, "{}"), (path.stem, "{}" + path.suffix)):
            places.setdefault(known, Counter())[str(path.parent / shape)] += 1
    for column in columns:
        shapes = Counter(shape for row in rows for shape in places.get(row[column], ()))
        for shape, count in shapes.most_common(1):
            if count >= 0.9 * len(rows):
                return {"pattern": shape.replace("{}", f"{{{column}}}")}
    return None


def _patient_column(columns: Sequence[str]) -> tuple[str | None, str]:
    for word, unit in UNITS.items():
        for column in columns:
            if re.fullmatch(word + _ID, column.strip(), re.IGNORECASE):
                return column, unit
    return None, "image"


def _label_column(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str | None:
    """Of the columns that are named like labels and hold few, the one with the shortest name."""
    named = sorted((c for c in columns if _LABEL.search(c)), key=len)
    for column in named:
        values = {word for row in rows for word in row[column].split("|")}
        if 2 <= len(values) <= MOST_LABELS:
            return column
    return None


def _folder_a_class(folder: Path) -> Guess | None:
    """Images at one depth: ``label/image``, or ``label/patient/image``."""
    files = [file for file in list_files(folder) if looks_like_an_image(folder / file)]
    depths = {file.count("/") for file in files}
    classes = {file.split("/")[0] for file in files}
    if len(depths) != 1 or not depths <= {1, 2} or not 2 <= len(classes) <= MOST_LABELS:
        return None
    to_do = []
    if any(Path(file).stem.casefold().endswith("mask") for file in files):
        to_do.append("image_pattern: files named as masks fit it too; write one that they do not")
    if depths == {1}:
        pattern, patient = "{label}/{name}", None
        to_do.append("patient_column: paths name no patient, so the unit is the image")
    else:
        pattern, patient = "{label}/{patient}/{name}", "patient"
        to_do.append("patient_column: are the inner folders patients?")
    source = SourceSettings(
        layout="folder",
        root=str(folder),
        image_pattern=pattern,
        label_column="label",
        patient_column=patient,
        unit_name=patient or "image",
    )
    return Guess(source, "each folder is taken for a class", tuple(to_do))


def _headers(folder: Path) -> Guess | None:
    files = [folder / file for _, file in zip(range(LOOKED_AT), list_files(folder), strict=False)]
    if not files or not _mostly(map(_is_dicom, files)):
        return None
    source = SourceSettings(
        layout="dicom",
        root=str(folder),
        image_column="file",
        label_column="Modality",
        patient_column="PatientID",
    )
    return Guess(
        source,
        "the files are DICOM",
        (
            "label_column: a keyword of the header that holds the label; Modality stands there "
            "until you say which. Where labels are in a table, use layout: table",
        ),
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return is_dicom(stream.read(HEAD_BYTES))


def _mostly(answers: Iterable[bool]) -> bool:
    found = list(answers)
    return bool(found) and sum(found) >= 0.9 * len(found)
