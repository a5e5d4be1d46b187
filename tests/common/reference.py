"""Every DICOM file of pydicom's own tests and of ``pydicom-data``: read or refused, and how well.

    python -m tests.common.reference

prints the tables that stand in docs/dicom.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from common.data.decoding.limits import LIMITS
from common.data.decoding.outline import is_dicom, outline
from common.data.dicom import Rendering, read_dicom
from common.errors import DataError

EVERY_FRAME = Rendering(frames="all")
COUNTERPARTS = {
    "693_J2KI.dcm": "693_UNCI.dcm",
    "693_J2KR.dcm": "693_UNCR.dcm",
    "JPEG-lossy.dcm": "JPGExtended.dcm",
    "JPEG2000.dcm": "JPEG2000_UNC.dcm",
    "MR2_J2KI.dcm": "MR2_UNCI.dcm",
    "MR2_J2KR.dcm": "MR2_UNCR.dcm",
    "MR_small_RLE.dcm": "MR_small.dcm",
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
    "MR_small_implicit.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "MR_small_padded.dcm": "MR_small.dcm",
    "OBXXXX1A_expb.dcm": "OBXXXX1A.dcm",
    "OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm",
    "OBXXXX1A_rle.dcm": "OBXXXX1A.dcm",
    "OBXXXX1A_rle_2frame.dcm": "OBXXXX1A_2frame.dcm",
    "RG1_J2KI.dcm": "RG1_UNCI.dcm",
    "RG1_J2KR.dcm": "RG1_UNCR.dcm",
    "RG3_J2KI.dcm": "RG3_UNCI.dcm",
    "RG3_J2KR.dcm": "RG3_UNCR.dcm",
    "SC_jpeg_no_color_transform.dcm": "SC_rgb_jpeg_dcmd.dcm",
    "SC_jpeg_no_color_transform_2.dcm": "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm": "SC_rgb_dcmtk_ebcr_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": "SC_rgb_dcmtk_ebcyn1_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm": "SC_rgb_dcmtk_ebcyn2_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm": "SC_rgb_dcmtk_ebcynp_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm": "SC_rgb_dcmtk_ebcys2_dcmd.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm": "SC_rgb_dcmtk_ebcys4_dcmd.dcm",
    "SC_rgb_expb.dcm": "SC_rgb.dcm",
    "SC_rgb_expb_16bit.dcm": "SC_rgb_16bit.dcm",
    "SC_rgb_expb_16bit_2frame.dcm": "SC_rgb_16bit_2frame.dcm",
    "SC_rgb_expb_2frame.dcm": "SC_rgb_2frame.dcm",
    "SC_rgb_expb_32bit.dcm": "SC_rgb_32bit.dcm",
    "SC_rgb_expb_32bit_2frame.dcm": "SC_rgb_32bit_2frame.dcm",
    "SC_rgb_gdcm_KY.dcm": "SC_rgb_gdcm2k_uncompressed.dcm",
    "SC_rgb_jpeg.dcm": "SC_rgb_jpeg_dcmd.dcm",
    "SC_rgb_jpeg_dcmtk.dcm": "SC_rgb_dcmtk_ebcys4_dcmd.dcm",
    "SC_rgb_jpeg_gdcm.dcm": "SC_rgb.dcm",
    "SC_rgb_rle.dcm": "SC_rgb.dcm",
    "SC_rgb_rle_16bit.dcm": "SC_rgb_16bit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm": "SC_rgb_16bit_2frame.dcm",
    "SC_rgb_rle_2frame.dcm": "SC_rgb_2frame.dcm",
    "SC_rgb_rle_32bit.dcm": "SC_rgb_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm": "SC_rgb_32bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm": "SC_rgb_small_odd.dcm",
    "SC_ybr_full_422_uncompressed.dcm": "SC_rgb_jpeg_dcmtk.dcm",
    "SC_ybr_full_uncompressed.dcm": "SC_rgb_jpeg_dcmtk.dcm",
    "US1_J2KI.dcm": "US1_UNCI.dcm",
    "US1_J2KR.dcm": "US1_UNCR.dcm",
    "color-pl.dcm": "color-px.dcm",
    "emri_small_RLE.dcm": "emri_small.dcm",
    "emri_small_big_endian.dcm": "emri_small.dcm",
    "emri_small_jpeg_2k_lossless.dcm": "emri_small.dcm",
    "emri_small_jpeg_ls_lossless.dcm": "emri_small.dcm",
    "examples_jpeg2k.dcm": "US1_UNCR.dcm",
    "gdcm-US-ALOKA-16_big.dcm": "gdcm-US-ALOKA-16.dcm",
    "liver_expb.dcm": "liver.dcm",
    "liver_expb_1frame.dcm": "liver_1frame.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
    "rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
    "rtdose_rle.dcm": "rtdose.dcm",
    "rtdose_rle_1frame.dcm": "rtdose_1frame.dcm",
}
"""A file, and the one that holds the same image: uncompressed, or else in another encoding.

Lossy files whose counterpart is what was compressed are not here: they differ on purpose.
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: Path
    syntax: str
    reason: str | None
    difference: float | None
    """Greatest difference to the counterpart, in grey levels of 255."""


def folders() -> dict[str, Path]:
    """Package and version to its files; ``pydicom-data`` may be missing."""
    package = Path(pydicom.__file__).parent
    found = {f"pydicom {version('pydicom')}": package / "data" / "test_files"}
    spec = find_spec("data_store")
    try:
        if spec is not None and spec.origin is not None:
            found[f"pydicom-data {version('pydicom-data')}"] = Path(spec.origin).parent / "data"
    except PackageNotFoundError:
        pass
    return found


@cache
def files() -> dict[str, Path]:
    """Every DICOM file by its path within its folder; dumps, JSON and the like are none."""
    found = {}
    for folder in folders().values():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (path.suffix == ".dcm" or is_dicom(path.read_bytes())):
                found[str(path.relative_to(folder))] = path
    return found


def outcomes() -> Iterator[Outcome]:
    """Read each file, and compare it with its counterpart."""
    every = files()
    for name, path in every.items():
        syntax = _syntax(path)
        try:
            images = read_dicom(path, EVERY_FRAME)
        except DataError as error:
            yield Outcome(path, syntax, str(error).split("image, but ", 1)[1], None)
            continue
        other = every.get(COUNTERPARTS.get(name, ""))
        yield Outcome(path, syntax, None, None if other is None else _difference(images, other))


def _difference(images: NDArray[np.float32], other: Path) -> float:
    return 255 * float(np.abs(images - read_dicom(other, EVERY_FRAME)).max())


def _syntax(path: Path) -> str:
    try:
        syntax = outline(path.read_bytes(), LIMITS).syntax
    except DataError:
        return "(no outline)"
    return syntax.name.split(",")[0].split(" (Process")[0] if syntax is not None else "(none named)"


def tables() -> str:
    """The two tables of docs/dicom.md."""
    every = list(outcomes())
    lines = [
        "| Transfer syntax | Files | Read | With a counterpart | Equal to it | Refused |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for syntax in [*sorted({outcome.syntax for outcome in every}), "all"]:
        rows = [outcome for outcome in every if syntax in (outcome.syntax, "all")]
        compared = [row.difference for row in rows if row.difference is not None]
        read = sum(row.reason is None for row in rows)
        equal = sum(difference <= 1 for difference in compared)
        lines.append(
            f"| {syntax} | {len(rows)} | {read} | {len(compared)} | {equal} | {len(rows) - read} |"
        )
    lines += ["", "| Refused because | Files | Such as |", "|---|--:|---|"]
    reasons = Counter(outcome.reason for outcome in every if outcome.reason is not None)
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        first = next(outcome.path.name for outcome in every if outcome.reason == reason)
        lines.append(f"| {reason} | {count} | `{first}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(", ".join(folders()))
    print(tables())
