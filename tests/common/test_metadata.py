"""Metadata as numbers: by public constants, with a flag where a value is missing."""

from __future__ import annotations

import numpy as np
import pytest

from common.data.metadata import encode, encoded_width
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
