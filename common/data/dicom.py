"""One DICOM file to grey levels in [0, 1], as the standard's display pipeline does it.

The steps follow PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT), and
PS3.3 C.7.6.3.1.2 (MONOCHROME1 is inverted). The caller's dataset is never changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from common.errors import DataError


def read_dicom(path: Path) -> NDArray[np.float32]:
    """Read a single-frame grey DICOM image.

    Returns:
        float32 (H, W) in [0, 1], high is bright whatever the photometric interpretation.

    Raises:
        DataError: naming the file, where it is no readable single-frame grey image.
    """
    try:
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array
    except Exception as error:  # pydicom and its decoders raise many kinds; all mean "unreadable"
        raise DataError(f"{path}: expected a readable DICOM image: {error}") from error
    photometric = str(dataset.PhotometricInterpretation)
    if pixels.ndim != 2 or not photometric.startswith("MONOCHROME"):
        raise DataError(
            f"{path}: expected one grey frame, got shape {pixels.shape} and "
            f"PhotometricInterpretation (0028,0004) {photometric}"
        )
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset, index=0)
    grey = scale_to_unit(np.asarray(values, dtype=np.float64))
    return 1.0 - grey if photometric == "MONOCHROME1" else grey


def scale_to_unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale one image's values to [0, 1] by its own least and greatest (H, W)."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    return ((values - low) / (high - low)).astype(np.float32)
