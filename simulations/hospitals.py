"""The phantom hospitals: synthetic chest radiographs in DICOM, with known truth.

Four hospitals that differ as real ones do: size, prevalence, age, detector noise, resolution,
exposure, display window, and at one of them MONOCHROME1. Two findings of different difficulty: a
*nodule* (small and round) and an *infiltrate* (large, faint and cloudy). Where each lesion lies is
known and kept as a mask beside the image, so that explanations can be scored.

Everything follows from the seed: equal seeds write equal bytes.
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

BITS = 12
FINDINGS = ("nodule", "infiltrate")
MASK_BITS = {"nodule": 1, "infiltrate": 2}
"""What stands in a mask where a lesion is at least half as dense as at its centre."""
NO_FINDING = "No Finding"
MORE_IMAGES_RATE = 0.3
"""Share of patients with a second image; as large a share of those has a third."""

FloatImage = NDArray[np.float64]


@dataclass(frozen=True)
class Hospital:
    """One phantom hospital's protocol and population."""

    name: str
    patients: int
    prevalence: tuple[float, float]
    """Of nodule and infiltrate."""
    mean_age: float
    pixels: int
    noise: float
    """Standard deviation of detector noise, as a share of full scale."""
    exposure: float
    """Gamma of the detector's response."""
    window: tuple[float, float]
    """Centre and width of the display window, as shares of full scale."""
    inverted: bool = False
    digital: bool = False
    """Digital X-Ray (DX) rather than Computed Radiography (CR)."""


HOSPITALS = (
    Hospital("northfield", 800, (0.30, 0.20), 62, 128, 0.030, 1.00, (0.50, 0.90), digital=True),
    Hospital("eastbrook", 560, (0.15, 0.35), 55, 112, 0.045, 0.80, (0.45, 0.80)),
    Hospital("southgate", 400, (0.25, 0.25), 68, 144, 0.035, 1.25, (0.55, 0.90), inverted=True),
    Hospital("westhaven", 280, (0.40, 0.15), 49, 96, 0.055, 0.90, (0.50, 1.00)),
)

SMALL_HOSPITALS = tuple(
    replace(hospital, patients=patients)
    for hospital, patients in zip(HOSPITALS[:3], (60, 50, 40), strict=True)
)
"""Three that are written and read in seconds, to try and measure what does not need many."""


def write_hospitals(root: Path, seed: int, hospitals: tuple[Hospital, ...] = HOSPITALS) -> None:
    """Write every hospital as ``root/NAME/`` with ``metadata.csv``, ``images/`` and ``masks/``.

    Args:
        root: made if missing.
        seed: what everything follows from.
        hospitals: which to write.
    """
    for index, hospital in enumerate(hospitals):
        _write_hospital(root / hospital.name, hospital, np.random.default_rng([seed, index]), seed)


def kept_hospitals(
    folder: Path,
    seed: int,
    hospitals: tuple[Hospital, ...] = HOSPITALS,
    name: str = "hospitals",
) -> Path:
    """The hospitals of a seed, written once for all runs that are kept in ``folder``.

    What an earlier call left unfinished is never taken for them.

    Args:
        folder: made if missing.
        seed: what everything follows from.
        hospitals: which to write.
        name: of these hospitals, where there are others in ``folder``.

    Returns:
        Their root, ``folder/NAME-SEED``.
    """
    root = folder / f"{name}-{seed}"
    if not root.exists():
        partial = folder / f"partial-{name}-{seed}"
        shutil.rmtree(partial, ignore_errors=True)
        write_hospitals(partial, seed, hospitals)
        partial.rename(root)
    return root


def draw_image(
    hospital: Hospital,
    findings: tuple[bool, bool],
    anatomy: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[FloatImage, NDArray[np.uint8]]:
    """Draw one radiograph.

    Args:
        hospital: gives resolution, noise and exposure.
        findings: whether a nodule and an infiltrate are there.
        anatomy: (4,) a patient's own shape, equal in all of its images.
        rng: what else varies.

    Returns:
        Image (H, W) in [0, 1], bright where dense, and mask uint8 (H, W): the sum of
        :data:`MASK_BITS` of what lies there.
    """
    size = hospital.pixels
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1  # both in [-1, 1]
    shift, breadth, height, tilt = anatomy
    shift = shift + rng.normal(0, 0.02)
    lungs = _lungs(x - shift, y, breadth, height)
    ribs = 0.05 * np.sin(14 * (y + (0.3 + tilt) * np.abs(x - shift) ** 1.5)) * lungs
    body = 0.72 - 0.15 * x**2 - 0.08 * y**2
    image = body - 0.38 * lungs + ribs + 0.05 * _clouds(size, 6, rng)
    mask = np.zeros((size, size), np.uint8)
    if findings[1]:
        blob = _blob(x, y, _place(x, y, lungs, rng), rng.uniform(0.24, 0.36), rng.uniform(0.6, 1.4))
        image += rng.uniform(0.14, 0.24) * blob * (0.6 + 0.8 * np.abs(_clouds(size, 14, rng)))
        mask[blob > 0.5] |= MASK_BITS["infiltrate"]
    if findings[0]:
        blob = _blob(x, y, _place(x, y, lungs, rng), rng.uniform(0.10, 0.15), 1.0)
        image += rng.uniform(0.26, 0.42) * blob
        mask[blob > 0.5] |= MASK_BITS["nodule"]
    image = np.clip(image, 0, 1) ** hospital.exposure
    return np.clip(image + rng.normal(0, hospital.noise, image.shape), 0, 1), mask


def to_dicom(
    image: FloatImage, hospital: Hospital, patient: str, age: int, sex: str, entropy: str
) -> FileDataset:
    """Wrap an image in [0, 1] as a 12-bit radiograph (PS3.3 A.2, A.26) with valid file meta.

    Args:
        image: (H, W), bright where dense.
        hospital: gives photometric interpretation, window and modality.
        patient: PatientID.
        age: years.
        sex: ``F`` or ``M``.
        entropy: what the UIDs follow from.
    """
    top = 2**BITS - 1
    stored = np.rint(image * top).astype("<u2")
    centre, width = (share * top for share in hospital.window)
    if hospital.inverted:  # MONOCHROME1: the least value is shown brightest
        stored, centre = (top - stored).astype("<u2"), top - centre
    storage = (
        DigitalXRayImageStorageForPresentation
        if hospital.digital
        else ComputedRadiographyImageStorage
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[entropy, "instance"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = storage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[entropy, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[entropy, "series"])
    dataset.Modality = "DX" if hospital.digital else "CR"
    dataset.PatientID, dataset.PatientName = patient, ""
    dataset.PatientSex, dataset.PatientAge = sex, f"{age:03d}Y"
    dataset.PatientBirthDate = dataset.StudyDate = dataset.StudyTime = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.BurnedInAnnotation = "NO"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if hospital.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.WindowCenter, dataset.WindowWidth = round(centre), round(width)
    dataset.PixelData = stored.tobytes()
    return dataset


def _write_hospital(folder: Path, hospital: Hospital, rng: np.random.Generator, seed: int) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    for number in range(hospital.patients):
        patient = f"{hospital.name[:2].upper()}{number:04d}"
        findings = (rng.random() < hospital.prevalence[0], rng.random() < hospital.prevalence[1])
        age = int(np.clip(rng.normal(hospital.mean_age, 14), 18, 95))
        sex = "F" if rng.random() < 0.5 else "M"
        anatomy = rng.normal([0, 0.40, 0.68, 0], [0.05, 0.03, 0.05, 0.1])
        for image_number in range(_image_count(rng)):
            stem = f"{patient}_{image_number}"
            image, mask = draw_image(hospital, findings, anatomy, rng)
            dataset = to_dicom(image, hospital, patient, age, sex, f"{seed}/{hospital.name}/{stem}")
            dataset.save_as(folder / "images" / f"{stem}.dcm", enforce_file_format=True)
            if mask.any():
                Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
            labels = [name for name, there in zip(FINDINGS, findings, strict=True) if there]
            rows.append(
                {
                    "file": f"images/{stem}.dcm",
                    "patient_id": patient,
                    "findings": "|".join(labels) or NO_FINDING,
                    "age": age,
                    "sex": sex,
                }
            )
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _image_count(rng: np.random.Generator) -> int:
    count = 1
    while count < 3 and rng.random() < MORE_IMAGES_RATE:
        count += 1
    return count


def _lungs(x: FloatImage, y: FloatImage, breadth: float, height: float) -> FloatImage:
    """Two soft-edged ellipses, 1 inside."""
    left = ((x + 0.42) / (0.75 * breadth)) ** 2 + (y / height) ** 2
    right = ((x - 0.42) / (0.75 * breadth)) ** 2 + (y / height) ** 2
    return np.asarray(1 / (1 + np.exp(np.clip(9 * (np.minimum(left, right) - 1), -50, 50))))


def _blob(
    x: FloatImage, y: FloatImage, centre: tuple[float, float], radius: float, aspect: float
) -> FloatImage:
    """A Gaussian spot, 1 at its centre."""
    distance = ((x - centre[0]) / radius) ** 2 + ((y - centre[1]) / (radius * aspect)) ** 2
    return np.asarray(np.exp(-distance))


def _place(
    x: FloatImage, y: FloatImage, lungs: FloatImage, rng: np.random.Generator
) -> tuple[float, float]:
    """A random point well inside a lung."""
    inside = np.flatnonzero(lungs > 0.8)
    where = int(inside[rng.integers(len(inside))])
    return float(x.flat[where]), float(y.flat[where])


def _clouds(size: int, cells: int, rng: np.random.Generator) -> FloatImage:
    """Smooth noise of about unit range (H, W): a coarse random grid, enlarged bicubically."""
    coarse = Image.fromarray(rng.normal(0, 0.5, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
