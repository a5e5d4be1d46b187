"""What the gate knows of a site's files: asked of the worker processes, one answer a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.data.decoding.inspection import digest_of_pixels
from common.data.decoding.pool import Pool
from common.data.decoding.process import Refusal, Reply
from common.data.dicom import Rendering
from common.data.each_image import for_each_image, one_of
from common.errors import SettingsError
from common.schema import build


@dataclass(frozen=True)
class Inspection:
    """One file. ``patient`` and ``station`` identify: they are in memory alone.

    Attributes:
        kind: ``DICOM``, ``PNG``, ``JPEG``, ``BMP``, ``TIFF`` or ``npz``.
        size: columns and rows; empty where the pixels cannot be read.
        colour: PhotometricInterpretation, or Pillow's mode of another file.
        syntax: name of the transfer syntax; empty for what is no DICOM.
        frames: of the whole file.
        manufacturer: of the device; empty where nothing is said.
        model: of the device.
        station: StationName, which the standard counts among what identifies.
        patient: PatientID.
        removed: PatientIdentityRemoved: ``YES`` where the file claims it.
        burned_in: BurnedInAnnotation: ``YES``, ``NO`` or nothing.
        identifying: names of the elements that identify (``common/data/confidentiality.py``).
        digest: of the pixels as they are displayed, in 256 levels at full size; empty where they
            cannot be read.
        refused: why they cannot be read; empty where they can.
    """

    kind: str = ""
    size: tuple[int, ...] = ()
    colour: str = ""
    syntax: str = ""
    frames: int = 1
    manufacturer: str = ""
    model: str = ""
    station: str = ""
    patient: str = ""
    removed: str = ""
    burned_in: str = ""
    identifying: tuple[str, ...] = ()
    digest: str = ""
    refused: str = ""


def inspect_many(
    paths: Sequence[Path],
    rendering: Rendering,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    pool: Pool | None = None,
) -> list[Inspection]:
    """Inspect many files with all workers.

    Args:
        paths: n files, or places of images within files (``common/data/places.py``).
        rendering: which frame and window of a DICOM file; whether one that shows text is refused.
        progress: called with how many are done, and n.
        pool: which workers; by default this process's.

    Returns:
        n inspections; what cannot be read has a ``refused``.
    """
    found: dict[int, Inspection] = {}

    def keep(index: int, inspection: Inspection | Refusal) -> None:
        if isinstance(inspection, Refusal):
            inspection = Inspection(refused=inspection.reason)
        found[index] = inspection
        progress(len(found), len(paths))

    request = {"inspect": True, "rendering": asdict(rendering)}
    for_each_image(paths, request, _read, _of_pixels, keep, pool)
    return [found[index] for index in range(len(paths))]


def _read(path: Path, reply: Reply | Refusal, number: int | None) -> Inspection | Refusal:
    """One image of a file; where the file cannot be read, what its header says all the same."""
    if isinstance(reply, Refusal):
        return reply
    answer = reply.line.get("inspection")
    facts = dict(answer) if isinstance(answer, dict) else {}
    digests = facts.pop("digests", None)
    try:
        if isinstance(digests, list) and not facts.get("refused"):
            digest = one_of(path, digests, number)
            if isinstance(digest, Refusal):
                return digest
            facts["digest"] = digest
        return build(Inspection, facts)
    except SettingsError:  # a codec that was taken over could write anything
        return Refusal(path, "its decoder gave no proper answer")


def _of_pixels(pixels: Any) -> Inspection:
    return Inspection(
        kind="npz",
        size=(pixels.shape[1], pixels.shape[0]),
        colour="L" if pixels.ndim == 2 else "RGB",
        digest=digest_of_pixels(pixels),
    )
