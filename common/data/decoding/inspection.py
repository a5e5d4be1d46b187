"""What the gate wants to know of one file, found where the file is decoded: in the worker process.

Of the header's values only those leave it that tell of the device and the encoding; of what
identifies a person, the names of the elements alone.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import UID

from common.data.confidentiality import identifying_tags
from common.data.decoding.decode import iter_images_of
from common.data.decoding.limits import Limits
from common.data.decoding.outline import outline
from common.data.decoding.pixels import COLOUR, GREY, PALETTE
from common.data.decoding.plain import plain_kind
from common.data.dicom import Rendering, read_header, refusing
from common.errors import DataError

FULL_SIZE = 2**16
"""No JPEG is decoded at a fraction of its size below this."""
DIGEST_BYTES = 16
MOST_CHARACTERS = 64
_FACTS = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
    "StationName": "station",
    "PatientID": "patient",
}
_CHOICES = {
    "PhotometricInterpretation": ("colour", GREY | COLOUR | {PALETTE}),
    "PatientIdentityRemoved": ("removed", {"YES", "NO"}),
    "BurnedInAnnotation": ("burned_in", {"YES", "NO"}),
}
"""What may stand there by the standard; nothing else is repeated."""


def inspect(data: bytes, rendering: Rendering, limits: Limits) -> dict[str, Any]:
    """Facts of one file.

    Args:
        data: its bytes.
        rendering: which frames and window; whether an image that shows text is refused.
        limits: caps on sizes.

    Returns:
        What :class:`common.data.inspection.Inspection` holds, as JSON, but ``digests``, one for
        each image that was read, in place of its ``digest``. Where the pixels cannot be read,
        ``refused`` has the reason instead.

    Raises:
        DataError: where the header cannot be read, or it is no image file at all.
    """
    kind = plain_kind(data)
    facts = {"kind": kind} if kind else _dicom_facts(data, limits)
    digests = list[str]()
    try:
        for image in iter_images_of(data, FULL_SIZE, rendering, limits):
            digests.append(digest(image))
            facts = {"colour": image.mode, **facts, "size": list(image.size)}
    except DataError as error:
        return {**facts, "refused": str(error)}
    return {**facts, "digests": digests}


def digest(image: Image.Image) -> str:
    """BLAKE2b of an image's size and 8-bit pixels; a grey image in RGB is as the grey one."""
    pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return digest_of_pixels(pixels)


def digest_of_pixels(pixels: NDArray[np.uint8]) -> str:
    """The same for uint8 (H, W) or (H, W, 3)."""
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    start = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=DIGEST_BYTES)
    start.update(np.ascontiguousarray(pixels).tobytes())
    return start.hexdigest()


def _dicom_facts(data: bytes, limits: Limits) -> dict[str, Any]:
    found = outline(data, limits)
    with refusing("its header is damaged"):
        header = read_header(found)
        return {
            "kind": "DICOM",
            **{name: _text(header, keyword) for keyword, name in _FACTS.items()},
            **{
                name: text if (text := _text(header, keyword)) in known or not text else "other"
                for keyword, (name, known) in _CHOICES.items()
            },
            "syntax": _syntax(found.syntax),
            "frames": int(header.get("NumberOfFrames") or 1),
            "identifying": identifying_tags(header),
        }


def _syntax(syntax: UID | None) -> str:
    if syntax is None:
        return ""
    return syntax.name if syntax.is_transfer_syntax else "other"


def _text(header: Dataset, keyword: str) -> str:
    text = " ".join(str(header.get(keyword) or "").split())[:MOST_CHARACTERS]
    return "".join(c if c.isprintable() else "?" for c in text)
