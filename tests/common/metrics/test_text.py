"""Figures as they are printed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from common.metrics import Scored, count, figures
from common.metrics.text import class_rows, class_table, left_out_text, overall_rows

CLASSES = ("cat", "[dog]", "newt")


@pytest.fixture(scope="module")
def metrics() -> dict[str, object]:
    """Six images, right but for one; none is of a newt."""
    logits = np.array([[2.0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 3, 0], [0, 4, 0], [0, 1, 0]])
    truth = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 0]]
    return figures(count(Scored(logits, truth, multi_label=False)), CLASSES)


def test_a_row_a_class_with_its_support(metrics: dict[str, object]) -> None:
    head, rows = class_rows(metrics)
    assert head == [
        "class", "positives", "negatives", "AUROC", "AUPRC", "sensitivity", "specificity", "F1"
    ]  # fmt: skip
    assert rows[0] == ["cat", "3", "3", "1.000", "1.000", "0.667", "1.000", "0.800"]
    assert rows[2][:5] == ["newt", "0", "6", "none", "none"]
    assert ("balanced accuracy", "0.833") in overall_rows(metrics)


def test_in_a_pipe_the_table_is_plain_and_names_what_has_no_support(
    metrics: dict[str, object],
) -> None:
    stream = io.StringIO()
    Console(file=stream, width=160).print(class_table(metrics))
    printed = stream.getvalue()
    assert "\x1b" not in printed
    assert "[dog]" in printed  # a name, not markup
    assert "left out of the macro figures, for want of support: newt" in printed


def test_noise_is_named_as_the_reason_under_noise() -> None:
    assert left_out_text({"left_out": []}) is None
    assert "hidden by the noise: a, b" in str(left_out_text({"left_out": "ab", "noise_std": 1.0}))
