"""Records from the headers of DICOM files (``data.layout=dicom``)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pydicom.datadict import tag_for_keyword

from common.config import SourceSettings
from common.data.decoding.process import Refusal
from common.data.images import try_headers
from common.data.records import Record, list_files, path_regex, pattern_columns, root_of
from common.errors import DataError

_known: dict[tuple[object, ...], dict[str, str] | Refusal] = {}
"""Headers that this process has read, by path, size, time and keywords. They name patients, so
they are kept nowhere else; a process that was just started reads them anew."""


def read_headers(source: SourceSettings) -> list[Record]:
    """Every file under the root, with the columns that the settings name.

    A column is one of ``data.image_pattern``, where that is given (files that do not fit it are
    passed over), or ``data.image_column``, the path, or else a keyword of the header's top level
    (PS3.6), as ``PatientID``. An element that a file lacks is blank. A file whose header cannot be
    read is left out (:func:`refused_headers` names it): nothing says whose image it is.

    Raises:
        DataError: on a column that is no keyword, or where no header can be read.
    """
    cells = _cells(source)
    records = [Record(f, own, f) for f, own in cells.items() if not isinstance(own, Refusal)]
    if not records:
        first = refused_headers(source)[0]
        raise DataError(f"no header can be read, the first: {first.path}: {first.reason}")
    return records


def refused_headers(source: SourceSettings) -> list[Refusal]:
    """The files that :func:`read_headers` leaves out, and why."""
    return [answer for answer in _cells(source).values() if isinstance(answer, Refusal)]


def _cells(source: SourceSettings) -> dict[str, dict[str, str] | Refusal]:
    """Each file's columns, or why its header cannot be read."""
    root, pattern, excluded = root_of(source), source.image_pattern, set(source.exclude)
    files = [file for file in list_files(root) if file not in excluded]
    cells: dict[str, dict[str, str]] = {file: {} for file in files}
    if pattern is not None:
        regex = path_regex(pattern)
        found = ((file, regex.fullmatch(file)) for file in files)
        cells = {file: match.groupdict() for file, match in found if match}
    if not cells:
        raise DataError(f"{root}: expected DICOM files; there are none")
    if source.image_column is not None:
        cells = {file: {**own, source.image_column: file} for file, own in cells.items()}
    keywords = _keywords(source)
    answers = zip(cells.items(), _headers(source, list(cells), keywords), strict=True)
    return {
        file: facts
        if isinstance(facts, Refusal)
        else {**own, **{keyword: facts.get(keyword, "") for keyword in keywords}}
        for (file, own), facts in answers
    }


def _keywords(source: SourceSettings) -> list[str]:
    """The named columns that only a header can have."""
    columns = [*(source.label_columns or (source.label_column,)), *source.metadata_columns]
    columns += [c for c in (source.patient_column, source.site_column) if c is not None]
    given = {*pattern_columns(source.image_pattern), source.image_column}
    keywords = [column for column in dict.fromkeys(columns) if column not in given]
    wrong = [keyword for keyword in keywords if tag_for_keyword(keyword) is None]
    if wrong:
        raise DataError(
            "columns of data.layout=dicom are keywords of the DICOM header, as PatientID, or stand "
            f"in data.image_pattern; these are neither: {', '.join(wrong)}"
        )
    return keywords


def _headers(
    source: SourceSettings, files: Sequence[str], keywords: Sequence[str]
) -> list[dict[str, str] | Refusal]:
    if not keywords:
        return [{} for _ in files]
    root = root_of(source)
    keys = []
    for file in files:
        facts = (root / file).stat()
        keys.append((os.fspath(root), file, facts.st_size, facts.st_mtime_ns, *keywords))
    left = [i for i, key in enumerate(keys) if key not in _known]
    answers = try_headers([root / files[i] for i in left], keywords)
    _known.update(zip((keys[i] for i in left), answers, strict=True))
    return [_known[key] for key in keys]
