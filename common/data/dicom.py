"""One DICOM file to numbers in [0, 1], as the standard's display pipeline does it.

    1. the outline: encoding, transfer syntax, where the pixels are      PS3.10 7, PS3.5 7, A
    2. the header, checked against itself, the file and the limits       PS3.3 C.7.6.3
    3. which frames
    4. stored values of a frame: codec, planes, bits, sign               PS3.5 8.1, 8.2, A.4
    5. grey: modality, VOI, MONOCHROME1                                  PS3.3 C.11.1, C.11.2
       colour: palette or YBR to RGB                                     PS3.3 C.7.6.3.1.2, C.7.9

What a step does stands in ``common/data/decoding``. This module reads in the process that calls
it: use ``common/data/images.py`` for files that nobody vouches for.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.config
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from common.data.decoding.choices import Frames, Intensity, Resize
from common.data.decoding.colour import read_palette
from common.data.decoding.grey import Greys, Values, scale_to_unit
from common.data.decoding.intensity import limits_of, stored_levels
from common.data.decoding.limits import LIMITS, MB, Limits
from common.data.decoding.outline import Outline, outline
from common.data.decoding.pixels import COLOUR, GREY, ImagePixel
from common.data.decoding.tags import named
from common.errors import DataError

Convert = Callable[[NDArray[np.float32]], NDArray[Any]]
"""From [0, 1] to what is wanted; elementwise."""

CHUNK = 2**20
"""Pixels that are converted at a time, so that no copy in 64 bits of a whole image is made."""


@dataclass(frozen=True)
class Rendering:
    """What is a site's choice in reading its files."""

    frames: Frames = "middle"
    """Of a multi-frame file: its first frame; the middle one (number ⌊n/2⌋ from 0), which of a
    volume or a loop most likely shows what it is about; or all, each an image of one patient."""
    view: int = 0
    """Which of several windows or VOI tables, from 0; a file that has fewer shows its first."""
    intensity: Intensity = "display"
    """Grey: which levels become black and white (``decoding/intensity.py``)."""
    bounds: tuple[float, ...] = ()
    """Of ``intensity``."""
    resize: Resize = "stretch"
    """How an image that is not square becomes one."""
    burned_in: bool = True
    """Whether a file is read whose BurnedInAnnotation (PS3.3 C.7.6.1) is YES: it shows text."""


RENDERING = Rendering()


def unchanged(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The conversion that leaves [0, 1] as it is."""
    return unit


def read_dicom(
    path: Path, rendering: Rendering = RENDERING, limits: Limits = LIMITS
) -> NDArray[np.float32]:
    """Read a DICOM file in this process.

    Args:
        path: the file.
        rendering: which frames and view.
        limits: caps on sizes; memory and time are limited in a worker process only.

    Returns:
        float32 (n, C, H, W) in [0, 1]: n images (1 unless all frames are asked for), C = 1 for
        grey, bright where the display is bright, and 3 for RGB.

    Raises:
        DataError: naming the file and why it cannot be read.
    """
    try:
        if path.stat().st_size > limits.file_bytes:
            raise DataError(f"it is larger than {limits.file_bytes // MB} MB")
        images = [as_float(image) for image in iter_images(path.read_bytes(), rendering, limits)]
    except OSError as error:
        raise DataError(f"{path}: it cannot be opened: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"{path}: expected a readable DICOM image, but {error}") from None
    return np.stack(images)


def as_float(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) or (H, W, 3) to channels first."""
    return image[None] if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(image, -1, 0))


def iter_images(
    data: bytes, rendering: Rendering, limits: Limits, convert: Convert = unchanged
) -> Iterator[NDArray[Any]]:
    """The images of a file, one frame in memory at a time.

    Args:
        data: the file's bytes.
        rendering: which frames and view.
        limits: caps on sizes.
        convert: from float32 in [0, 1] to what is wanted, elementwise; applied to the few values
            that an image can have rather than to its many pixels, where they are few.

    Yields:
        (H, W) grey or (H, W, 3) RGB.

    Raises:
        DataError: with the reason alone. It holds names of tags and never a value: nothing of a
            data set may reach a log, so what pydicom says of it is dropped.
    """
    found = outline(data, limits)
    with refusing("its header is damaged"):
        header = read_header(found)
        if not rendering.burned_in and str(header.get("BurnedInAnnotation")).strip() == "YES":
            raise DataError(f"its {named('BurnedInAnnotation')} is YES: it shows text")
        module = ImagePixel.of(header, found, limits)
    for frame in choose_frames(module.frames, rendering.frames):
        # pydicom takes a codec's MemoryError for one failure of many, so either may be meant.
        damaged = f"its pixel data ({module.syntax.name}) is damaged, or takes too much memory"
        with refusing(damaged):
            stored = module.stored_values(found, header, frame)
        with refusing("its pixels cannot be brought to grey levels or colours"):
            image = render(stored, header, frame, rendering, convert, found.little)
        yield image


def read_header(found: Outline) -> Dataset:
    """Everything before the pixels, as pydicom reads it."""
    header = BytesIO(found.body[found.start : found.header_end])
    return read_dataset(header, found.implicit, found.little)


def choose_frames(count: int, frames: Frames) -> range:
    """The indices, from 0, of the frames that are read."""
    if frames == "all":
        return range(count)
    middle = count // 2 if frames == "middle" else 0
    return range(middle, middle + 1)


def render(
    stored: NDArray[Any],
    header: Dataset,
    frame: int = 0,
    rendering: Rendering = RENDERING,
    convert: Convert = unchanged,
    little: bool = True,
) -> NDArray[Any]:
    """From one frame's stored values to what a display shows.

    Args:
        stored: (H, W), or (H, W, 3) in RGB; integers or floats.
        header: its data set; not changed.
        frame: its number, from 0.
        rendering: which view, and what becomes black and white.
        convert: see :func:`iter_images`.
        little: byte order of the header's tables.

    Returns:
        (H, W) or (H, W, 3) of what ``convert`` gives for [0, 1].
    """
    photometric = str(header.get("PhotometricInterpretation")).strip()
    if photometric in GREY:
        greys = Greys.of(header, frame, rendering.view, little)
        return _render_grey(stored, greys, rendering, convert)
    if photometric in COLOUR:
        full = 2 ** int(header.get("BitsStored")) - 1
        return _map(stored, lambda values: convert((values / full).astype(np.float32)))
    first, colours = read_palette(header, little)
    table = convert(colours.astype(np.float32))
    last = len(table) - 1
    return _map(stored, lambda values: table[np.clip(values - first, 0, last).astype(np.int64)])


def _render_grey(
    stored: NDArray[Any], greys: Greys, rendering: Rendering, convert: Convert
) -> NDArray[Any]:
    if rendering.intensity == "range":
        greys = replace(greys, voi=None)
    if greys.voi is None or rendering.intensity != "display":
        low, high = _limits(stored, greys, rendering)
    else:
        low, high = 0.0, 1.0

    def show(values: Values) -> NDArray[Any]:
        unit = scale_to_unit(greys(values), low, high)
        return convert(1 - unit if greys.inverted else unit)

    return _map(stored, show)


def _limits(stored: NDArray[Any], greys: Greys, rendering: Rendering) -> tuple[float, float]:
    """The grey levels of an image that become black and white."""
    if greys.monotone and rendering.intensity != "percentile":
        levels, counts = np.array([stored.min(), stored.max()], np.float64), np.ones(2, np.int64)
    else:
        levels, counts = stored_levels(stored)
    return limits_of(greys(levels), counts, rendering.intensity, rendering.bounds)


def _map(stored: NDArray[Any], function: Callable[[Values], NDArray[Any]]) -> NDArray[Any]:
    """Apply a function of a pixel's value to an image: through a table where values are few."""
    flat = stored.reshape(-1)
    if stored.dtype.kind == "f" and not np.isfinite(flat).all():
        raise DataError("its pixels hold values that are not finite")
    table, low = None, 0
    if stored.dtype.kind != "f" and stored.dtype.itemsize <= 2:
        low, high = int(flat.min()), int(flat.max())
        table = function(np.arange(low, high + 1, dtype=np.float64))
    out: NDArray[Any] | None = None
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        if table is None:
            shown = function(part.astype(np.float64))
        else:
            shown = table[part.astype(np.intp) - low]
        if out is None:
            out = np.empty((flat.size, *shown.shape[1:]), dtype=shown.dtype)
        out[start : start + CHUNK] = shown
    if out is None:
        raise DataError("it has no pixels")
    return out.reshape(*stored.shape, *out.shape[1:])


@contextmanager
def refusing(reason: str) -> Iterator[None]:
    """Let no word of a library out: it warns, logs and raises with values of the file."""
    logger, settings = logging.getLogger("pydicom"), pydicom.config.settings
    level, mode = logger.level, settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except MemoryError:
        raise DataError("decoding it takes more memory than a file may") from None
    except Exception:
        raise DataError(reason) from None
    finally:
        logger.setLevel(level)
        settings.reading_validation_mode = mode
