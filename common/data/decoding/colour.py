"""Palettes to RGB (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9); YBR is pydicom's conversion.

The entries of a segmented palette are expanded by pydicom. A plain one is read here: pydicom takes
its bytes in the machine's order, which turns a big-endian file's colours into noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from common.data.decoding.grey import descriptor, entries
from common.data.decoding.tags import named
from common.errors import DataError

CHANNELS = ("Red", "Green", "Blue")


def read_palette(dataset: Dataset, little: bool) -> tuple[int, NDArray[np.float64]]:
    """The palette of an image.

    Args:
        dataset: the header; not changed.
        little: byte order of the table's 16-bit entries.

    Returns:
        The first value that is mapped, and (n, 3) in [0, 1].

    Raises:
        DataError: where there is no palette, or it is damaged.
    """
    signed = dataset.get("PixelRepresentation") == 1
    try:
        count, first, bits = descriptor(
            dataset.get("RedPaletteColorLookupTableDescriptor"), signed, little
        )
        if dataset.get("RedPaletteColorLookupTableData") is not None:
            colours = np.stack(
                [
                    entries(dataset.get(f"{name}PaletteColorLookupTableData"), count, bits, little)
                    for name in CHANNELS
                ],
                axis=-1,
            )
        else:
            colours = _segmented(dataset, count, first, bits)
    except Exception:
        raise DataError(
            f"{named('RedPaletteColorLookupTableDescriptor')} or its data is missing or damaged"
        ) from None
    return first, colours / _full_scale(colours, bits)


def _segmented(dataset: Dataset, count: int, first: int, bits: int) -> NDArray[np.uint16]:
    """pydicom's expansion, asked for each value that is mapped."""
    if bits == 8 and count > 256:
        raise ValueError  # pydicom's index would wrap
    inputs = np.arange(first, first + count, dtype=np.int32)
    return apply_color_lut(inputs, dataset)[:, :3].astype(np.uint16)


def _full_scale(colours: NDArray[np.uint16], bits: int) -> int:
    """255 or 65535: as the descriptor says, unless the entries contradict it.

    Writers are met that say 16 bits of entries up to 255, and 8 bits of entries beyond.
    """
    most = int(colours.max())
    if bits <= 8:
        return 255 if most <= 255 else 65535
    return 65535 if most > 255 else 255
