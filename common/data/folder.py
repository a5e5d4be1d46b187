"""Records from what the paths under a folder say (``data.layout=folder``)."""

from __future__ import annotations

from common.config import SourceSettings
from common.data.records import Record, check_columns, list_files, path_regex, root_of
from common.errors import DataError


def read_folder(source: SourceSettings) -> list[Record]:
    """Every file whose path fits ``data.image_pattern``; the others are passed over.

    So a data set's masks, which stand beside its images, are left out by a pattern that they do
    not fit: ``{label}/{label} ({number}).png``.

    Raises:
        DataError: where no file fits, or a named column is not in the pattern.
    """
    root, pattern = root_of(source), source.image_pattern or ""
    regex = path_regex(pattern)
    check_columns(list(regex.groupindex), source, root)
    found = ((file, regex.fullmatch(file)) for file in list_files(root))
    records = [Record(file, match.groupdict(), file) for file, match in found if match]
    if not records:
        raise DataError(f"{root}: expected files as data.image_pattern={pattern}; there are none")
    return records
