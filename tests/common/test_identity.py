"""What is no patient id, and what is done with an image that has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from common.data.confidentiality import PRIVATE, basic_profile, identifying_tags
from common.data.decoding.tags import named
from common.data.identity import identified, is_placeholder
from common.data.manifest import Manifest
from common.errors import DataError


def manifest(*patients: str) -> Manifest:
    files = tuple(f"{row}.png" for row in range(len(patients)))
    labels = np.arange(len(patients), dtype=np.float32)[:, None]
    return Manifest(Path(), files, patients, labels, ("a",), {"row": files})


@pytest.mark.parametrize(
    "text",
    ["", "  ", "0", "000", "ANON", "anonymous", " Unknown ", "N/A", "n/a", "NULL", "nan", "-", "?",
     "00-00", "Not Available", "REDACTED"],
)  # fmt: skip
def test_placeholders_are_no_ids(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["P1", "10", "0001", "ANON17", "Nadia", "x", "0a", "患者"])
def test_other_texts_are_ids(text: str) -> None:
    assert not is_placeholder(text)


def test_an_image_without_an_id_is_refused_and_no_value_is_told() -> None:
    with pytest.raises(DataError, match=r"2 of 4 .*policy.missing_patient: exclude") as caught:
        identified(manifest("Jane", "", "anon", "Joe"), "refuse")
    assert "Jane" not in str(caught.value)


def test_or_left_out_where_the_site_says_so() -> None:
    kept = identified(manifest("P1", "0", "P2", "ANON", "P1"), "exclude")
    assert kept.patients == ("P1", "P2", "P1")
    assert kept.files == ("0.png", "2.png", "4.png")
    assert kept.labels[:, 0].tolist() == [0, 2, 4]
    whole = manifest("P1", "P2")
    assert identified(whole, "refuse") is whole


def test_where_none_has_an_id_none_is_left() -> None:
    with pytest.raises(DataError, match="none is left"):
        identified(manifest("", "0"), "exclude")


def test_leaving_one_out_changes_nobody_elses_rows() -> None:
    with_it = identified(manifest("P1", "0", "P2"), "exclude")
    without = identified(manifest("P1", "P2"), "exclude")
    assert with_it.patients == without.patients


def test_the_basic_profile_is_whole() -> None:
    table = basic_profile()
    assert len(table) == 597  # rows of PS3.15 2026c, table E.1-1, but for UIDs and whole groups
    for keyword in ("PatientName", "PatientID", "AccessionNumber", "StationName", "StudyDate"):
        assert any(named(keyword).endswith(f"({t >> 16:04X},{t & 0xFFFF:04X})") for t in table)


def test_tags_are_found_at_any_depth_by_name_alone() -> None:
    item = Dataset()
    item.RequestedProcedureID = "secret-1"
    header = Dataset()
    header.PatientName, header.PatientID, header.StudyDescription = "secret-2", "", None
    header.Manufacturer, header.Rows = "Acme", 4
    header.RequestAttributesSequence = Sequence([item])
    header.add_new(0x60003000, "OB", b"\1\0")
    header.add_new(0x00091001, "LO", "secret-3")
    found = identifying_tags(header)
    assert found == [
        "PatientName (0010,0010)",
        "RequestAttributesSequence (0040,0275)",
        "RequestedProcedureID (0040,1001)",
        "overlay data or comments (60xx,3000 or 4000)",
        PRIVATE,
    ]
    assert "secret" not in " ".join(found)
