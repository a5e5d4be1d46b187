"""The files that ship with pydicom and pydicom-data, and the table of docs/dicom.md."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.dicom import Rendering, read_dicom
from tests.common.reference import COUNTERPARTS, Outcome, files, folders, outcomes, tables
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def every() -> list[Outcome]:
    if len(folders()) < 2:
        pytest.skip("pydicom-data is not installed (it is in the extra `dev`)")
    return list(outcomes())


def test_every_file_is_read_or_refused_with_a_reason(every: list[Outcome]) -> None:
    assert len(every) >= 200
    assert all(outcome.reason is None or len(outcome.reason) > 10 for outcome in every)
    assert sum(outcome.reason is None for outcome in every) >= 150


def test_every_image_with_pixels_that_are_whole_is_read(every: list[Outcome]) -> None:
    refused = {o.path.name: o.reason for o in every if o.reason and "no pixels" not in o.reason}
    assert set(refused) == {
        "DICOMDIR-nooffset",  # damaged, like the others
        "JPEG2000-embedded-sequence-delimiter.dcm",
        "MR_truncated.dcm",
        "badVR.dcm",
        "emri_small_jpeg_2k_lossless_too_short.dcm",
        "meta_missing_tsyntax.dcm",
        "nested_priv_SQ.dcm",
        "no_meta.dcm",
        "rtplan_truncated.dcm",
    }


def test_every_file_equals_its_counterpart_within_one_grey_level(every: list[Outcome]) -> None:
    compared = {o.path.name: o.difference for o in every if o.difference is not None}
    assert set(compared) == set(COUNTERPARTS)
    assert {name: worst for name, worst in compared.items() if worst > 1} == {}


def test_values_that_pydicom_publishes_for_12_bit_jpeg() -> None:
    """It has no uncompressed counterpart; two of its pixels are 244 and 95, its greatest 264."""
    shown = read_dicom(files()["JPGExtended.dcm"], Rendering())[0, 0]
    assert 264 * shown[420, 140] == pytest.approx(244, abs=0.01)
    assert 264 * shown[230, 120] == pytest.approx(95, abs=0.01)


def test_colours_of_the_test_bars() -> None:
    """Red, pale red, green, … of SC_rgb, in the middle of each bar."""
    shown = np.rint(255 * read_dicom(files()["SC_rgb_rle.dcm"], Rendering())[0, :, 5::10, 50])
    bars = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255)]
    assert [tuple(colour) for colour in shown.T.tolist()[:5]] == bars


def test_the_table_of_the_docs_is_this_one(every: list[Outcome]) -> None:
    page = (PROJECT / "docs" / "dicom.md").read_text(encoding="utf-8")
    if ", ".join(folders()) not in page:
        pytest.skip("the table is of other versions: python -m tests.common.reference")
    assert tables() in page
