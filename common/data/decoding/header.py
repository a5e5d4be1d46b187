"""What a header says: by keyword (labels, ids), and how many images the file holds.

The answer by keyword holds a patient's data. It stays within the site's process: nothing here logs
it, and it belongs into no error, message or cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from common.data.decoding.limits import Limits
from common.data.decoding.outline import outline
from common.data.decoding.pixels import ImagePixel
from common.data.decoding.plain import FORMATS, count_pages, is_plain
from common.data.dicom import read_header, refusing

MOST_CHARACTERS = 1024


def read_facts(data: bytes, keywords: Sequence[str], limits: Limits) -> dict[str, str]:
    """The top level's values of some keywords, as text; those that are absent are left out.

    ``TransferSyntaxUID`` is answered too. Several values are joined by a backslash, as they are in
    the file. A file that is no DICOM file has no facts.

    Raises:
        DataError: with the reason, where the header cannot be read.
    """
    if is_plain(data):
        return {}
    found = outline(data, limits)
    facts: dict[str, str] = {}
    if found.syntax is not None and "TransferSyntaxUID" in keywords:
        facts["TransferSyntaxUID"] = str(found.syntax)
    with refusing("its header is damaged"):
        header = read_header(found)
        for keyword in keywords:
            if keyword in header:
                value = header[keyword].value
                many = value if hasattr(value, "append") and not isinstance(value, bytes) else None
                text = str(value) if many is None else "\\".join(str(one) for one in many)
                facts[keyword] = "" if value is None else text[:MOST_CHARACTERS]
    return facts


def count_images(data: bytes, limits: Limits) -> int:
    """How many images a file holds: the frames of a DICOM file, the pages of a TIFF, or 1.

    Raises:
        DataError: with the reason, where the file contradicts what it says of them.
    """
    if is_plain(data):
        return count_pages(Image.open(BytesIO(data), formats=FORMATS), limits)
    found = outline(data, limits)
    with refusing("its header is damaged"):
        return ImagePixel.of(read_header(found), found, limits).frames
