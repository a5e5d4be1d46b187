"""The Image Pixel module (PS3.3 C.7.6.3): checked first, then one frame of stored values."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID, RLELossless

from common.data.decoding.codecs import JPEG_2000, check_stream, decoder_for
from common.data.decoding.limits import MB, Limits
from common.data.decoding.outline import Outline, PixelElement
from common.data.decoding.tags import named, tag_name
from common.errors import DataError

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
PALETTE = "PALETTE COLOR"
PIXEL_DATA, FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008
TOO_FEW_FRAMES = "it has fewer frames than NumberOfFrames (0028,0008) says"
PADDING = 1.1
"""Pixel data may be this much longer than declared: writers pad. Beyond, a declared size lies, and
what would be read is a part of the image."""


@dataclass(frozen=True)
class ImagePixel:
    """What a header says of its pixels, checked against itself, the file and the limits."""

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: int
    element: PixelElement
    syntax: UID

    @property
    def is_float(self) -> bool:
        return self.element.tag != PIXEL_DATA

    @staticmethod
    def of(dataset: Dataset, found: Outline, limits: Limits) -> ImagePixel:
        """Read and check the module.

        Args:
            dataset: the header; not changed.
            found: where the pixels are.
            limits: caps on the sizes.

        Raises:
            DataError: with everything that is wrong, by tag.
        """
        if found.pixels is None:
            raise DataError(f"it has no pixels: there is no {tag_name(PIXEL_DATA)}")
        if found.syntax is None:
            raise DataError("it names no transfer syntax, and its pixel data is compressed")
        photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
        grey_or_index = photometric in GREY or photometric == PALETTE
        if not grey_or_index and photometric not in COLOUR:
            raise DataError(f"{named('PhotometricInterpretation')} is missing or not supported")
        module = ImagePixel(
            rows=_integer(dataset, "Rows"),
            columns=_integer(dataset, "Columns"),
            frames=_integer(dataset, "NumberOfFrames", 1) or 1,
            samples=_integer(dataset, "SamplesPerPixel", 1 if grey_or_index else 3),
            photometric=photometric,
            allocated=_integer(dataset, "BitsAllocated", _float_bits(found.pixels)),
            stored=_integer(dataset, "BitsStored", _float_bits(found.pixels)),
            high_bit=_integer(dataset, "HighBit", -1),
            signed=_integer(dataset, "PixelRepresentation", 0) == 1,
            planar=_integer(dataset, "PlanarConfiguration", 0),
            element=found.pixels,
            syntax=found.syntax,
        )
        problems = [*module._wrong_sizes(limits), *module._wrong_bits(), *module._wrong_colours()]
        if problems:
            raise DataError("; ".join(problems))
        module._check_length(limits)
        return module

    def _wrong_sizes(self, limits: Limits) -> list[str]:
        problems = []
        area = self.rows * self.columns
        if self.rows < 1 or self.columns < 1 or self.frames < 1:
            problems.append(f"{named('Rows')} or {named('Columns')} is not positive")
        if area > limits.frame_pixels:
            problems.append(f"Rows × Columns is more than {limits.frame_pixels} pixels")
        elif area * self.frames > limits.total_pixels:
            problems.append(f"Rows × Columns × NumberOfFrames is over {limits.total_pixels}")
        if self.frames > limits.frames:
            problems.append(f"{named('NumberOfFrames')} is over {limits.frames}")
        if self.samples != (3 if self.photometric in COLOUR else 1):
            problems.append(f"{named('SamplesPerPixel')} does not fit PhotometricInterpretation")
        if self.planar not in (0, 1):
            problems.append(f"{named('PlanarConfiguration')} is neither 0 nor 1")
        return problems

    def _wrong_bits(self) -> list[str]:
        problems = []
        if self.allocated not in ((32, 64) if self.is_float else (1, 8, 16, 32)):
            problems.append(f"{named('BitsAllocated')} is none that an image can have")
        if not 1 <= self.stored <= self.allocated:
            problems.append(f"{named('BitsStored')} does not fit BitsAllocated")
        if self.high_bit != -1 and not self.stored - 1 <= self.high_bit < max(1, self.allocated):
            problems.append(f"{named('HighBit')} does not fit BitsStored and BitsAllocated")
        return problems

    def _wrong_colours(self) -> list[str]:
        """Colours that no codec turns back into RGB, and that would be taken for it."""
        problems = []
        if self.photometric in ("YBR_ICT", "YBR_RCT") and self.syntax not in JPEG_2000:
            problems.append(f"{named('PhotometricInterpretation')} is that of JPEG 2000")
        if self.photometric in ("YBR_FULL", "YBR_FULL_422") and self.allocated != 8:
            problems.append(f"{named('PhotometricInterpretation')} is for 8 bits")
        return problems

    def _check_length(self, limits: Limits) -> None:
        """PS3.5 8.1.1 and A.4: what the pixel element holds against what the header declares."""
        decoder, _ = decoder_for(self.syntax)
        if decoder.is_encapsulated != self.element.encapsulated:
            raise DataError(f"{tag_name(self.element.tag)} is not encoded as the syntax says")
        if self.element.encapsulated:
            if self.frames > self.element.fragments:
                raise DataError(TOO_FEW_FRAMES)
            return
        actual = self.element.end - self.element.start
        declared = ceil(self.frame_bytes * self.frames)
        if actual < declared:
            raise DataError(f"{tag_name(self.element.tag)} is shorter than the header declares")
        if actual > declared * PADDING + 16:
            raise DataError(f"{tag_name(self.element.tag)} holds far more than the header declares")
        if actual > limits.file_bytes:
            raise DataError(f"it holds more than {limits.file_bytes // MB} MB of pixels")

    @property
    def frame_bytes(self) -> float:
        """Bytes of one frame that is not compressed; 1-bit frames may end within a byte."""
        size = self.rows * self.columns * self.samples * self.allocated / 8
        return size * 2 / 3 if self.photometric == "YBR_FULL_422" else size

    def stored_values(self, found: Outline, dataset: Dataset, frame: int) -> NDArray[Any]:
        """One frame as it is stored, unused bits cleared, colours as RGB.

        Args:
            found: holds the bytes.
            dataset: the header, for the offset tables.
            frame: from 0.

        Returns:
            (H, W), or (H, W, 3) for colour; integers of BitsAllocated, or floats.
        """
        decoder, plugin = decoder_for(self.syntax)
        if self.element.encapsulated:
            source: bytes | memoryview = self._stream(found, dataset, frame)
            frames, index = 1, 0
        else:
            source = memoryview(found.body)[self.element.start : self.element.end]
            frames, index = self.frames, frame
        by_word = not self.element.encapsulated or self.syntax == RLELossless
        values, _ = decoder.as_array(
            source,
            index=index,
            validate=False,
            decoding_plugin=plugin,
            **self._options(frames, correct_unused_bits=not by_word),
        )
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        return self._clear_unused_bits(values) if by_word else values

    def _stream(self, found: Outline, dataset: Dataset, frame: int) -> bytes:
        """The stream of one frame, checked, as the only one of an encapsulated element."""
        offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        body = BytesIO(found.body)
        body.seek(self.element.start)
        try:
            stream = get_frame(
                body,
                frame,
                number_of_frames=self.frames,
                extended_offsets=offsets if all(offsets) else None,
            )
        except Exception:
            raise DataError(TOO_FEW_FRAMES) from None
        check_stream(self.syntax, stream, (self.rows, self.columns, self.samples))
        return encapsulate([stream])

    def _options(self, frames: int, correct_unused_bits: bool) -> dict[str, Any]:
        keywords = {PIXEL_DATA: "PixelData", FLOAT_PIXEL_DATA: "FloatPixelData"}
        return {
            "rows": self.rows,
            "columns": self.columns,
            "number_of_frames": frames,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "planar_configuration": self.planar,
            "pixel_keyword": keywords.get(self.element.tag, "DoubleFloatPixelData"),
            "pixel_vr": self.element.vr,
            "correct_unused_bits": correct_unused_bits,
        }

    def _clear_unused_bits(self, values: NDArray[Any]) -> NDArray[Any]:
        """PS3.5 8.1.1: of each word, the BitsStored bits that end at HighBit, with their sign."""
        high = self.stored - 1 if self.high_bit == -1 else self.high_bit
        up, down = self.allocated - 1 - high, self.allocated - self.stored
        if self.is_float or self.allocated == 1 or not down:
            return values
        return np.asarray(np.right_shift(np.left_shift(values, up), down))


def _float_bits(element: PixelElement) -> int | None:
    """Float pixels have their bits by their element; others must say."""
    if element.tag == PIXEL_DATA:
        return None
    return 32 if element.tag == FLOAT_PIXEL_DATA else 64


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """One whole number of the header; the default where the element is absent or empty."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            value = default
        return int(value)
    except Exception:  # pydicom converts on access, and may raise anything on damaged bytes
        raise DataError(f"{named(keyword)} is missing or no number") from None
