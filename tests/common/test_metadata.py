"""Metadata as numbers: by public constants, with a flag where a value is missing."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.metadata import encode, encoded_width, group_of
from common.evaluation import EvaluationSettings, Grouping, check_evaluation
from common.model_settings import MetadataEncoding

AGE = MetadataEncoding(mean=60, scale=20)
SEX = MetadataEncoding(values=("F", "M"))
MISSING = [0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [1.0, 0.0]),
        (" 50.0 ", [-0.5, 0.0]),
        ("060Y", [0.0, 0.0]),  # an age as DICOM writes it, PS3.5 section 6.2
        ("024M", [-2.9, 0.0]),
        ("", MISSING),
        ("unknown", MISSING),
        ("nan", MISSING),
        ("1e999", MISSING),
        ("60Y", MISSING),
    ],
)
def test_a_number_is_scaled_or_missing(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(encode({"age": [text]}, {"age": AGE}, 1), [expected], rtol=1e-6)


def test_a_category_has_a_place_a_value_and_one_for_what_is_none_of_them() -> None:
    found = encode({"sex": ["F", "m", "", "other"]}, {"sex": SEX}, 4)
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])


def test_columns_stand_in_the_models_order_and_absent_ones_are_missing() -> None:
    found = encode({"sex": ["M"], "height": ["180"]}, {"age": AGE, "sex": SEX}, 1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[*MISSING, 0, 1, 0]])
    assert found.shape[1] == encoded_width({"age": AGE, "sex": SEX})


def test_one_image_does_not_change_how_another_is_encoded() -> None:
    alone = encode({"age": ["80"]}, {"age": AGE}, 1)
    beside = encode({"age": ["80", "20000"]}, {"age": AGE}, 2)
    np.testing.assert_array_equal(alone[0], beside[0])


def test_no_metadata_are_no_columns() -> None:
    assert encode({"age": ["80"]}, {}, 1).shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0", "0 to under 40"),
        ("39.9", "0 to under 40"),
        ("40", "40 to under 60"),
        ("059Y", "40 to under 60"),
        ("60", "60 and over"),
        ("1e300", "60 and over"),
        ("-1", "unknown"),
        ("", "unknown"),
        ("nan", "unknown"),
        ("1e999", "unknown"),
        ("forty", "unknown"),
    ],
)
def test_a_band_holds_its_edge_and_what_is_in_none_is_unknown(text: str, group: str) -> None:
    bands = Grouping(bands=(0, 40, 60))
    assert bands.names[group_of([text], bands)[0]] == group


def test_a_category_is_a_group_whatever_its_case() -> None:
    sexes = Grouping(values=("F", "M"))
    assert sexes.names == ("F", "M", "unknown")
    assert group_of(["F", " m ", "", "other"], sexes).tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("grouping", "problem"),
    [
        (Grouping(), "either values"),
        (Grouping(values=("F",), bands=(0.0,)), "either values"),
        (Grouping(values=("F", "f ")), "differ in more than case"),
        (Grouping(values=("F", "Unknown")), "a group already"),
        (Grouping(values=("F", " ")), "none of them blank"),
        (Grouping(bands=(0, 60, 40)), "rising bands"),
        (Grouping(bands=(0, 0)), "rising bands"),
        (Grouping(bands=(0, float("inf"))), "rising bands"),
    ],
)
def test_groups_that_cannot_be_told_apart_are_refused(grouping: Grouping, problem: str) -> None:
    (line,) = check_evaluation(EvaluationSettings(subgroups={"sex": grouping}))
    assert line.startswith("evaluation.subgroups.sex: ")
    assert problem in line
