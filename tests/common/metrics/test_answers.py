"""Answers on single images are those that the evaluation of all of them counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.evaluation import EvaluationSettings
from common.metrics import OperatingPoint, Scored, count, figures
from common.metrics.answers import Answers, answers_of
from common.metrics.thresholds import Wanted
from tests.common.metrics.images import multi_label, single_label


def answered(scored: Scored, point: OperatingPoint, classes: tuple[str, ...]) -> list[Answers]:
    return [answers_of(point, row, classes, scored.multi_label) for row in scored.logits]


@pytest.mark.parametrize(
    ("scored", "seen", "classes"),
    [
        (single_label(400, seed=1), single_label(300, seed=2), ("a", "b", "c")),
        (multi_label(400, seed=1), multi_label(300, seed=2), ("a", "b")),
    ],
    ids=["one label", "several labels"],
)
def test_thresholds_sets_and_temperature_are_those_of_the_figures(
    scored: Scored, seen: Scored, classes: tuple[str, ...]
) -> None:
    point = OperatingPoint.fit(count(seen), EvaluationSettings())
    metrics = figures(count(replace(scored, temperature=point.temperature)), classes, None, point)
    answers = answered(scored, point, classes)
    for k, name in enumerate(classes):
        for at in ("at_specificity", "at_sensitivity"):
            called = np.array([name in getattr(one, at) for one in answers])
            for truth, rate in ((1, "sensitivity"), (0, "specificity")):
                share = (called == truth)[scored.labels[:, k] == truth].mean()
                assert metrics[at][rate][name]["value"] == pytest.approx(share)
    rows = zip(answers, scored.labels, strict=True)
    if scored.multi_label:
        held = [
            (name if label else f"not {name}") in one.conformal_set
            for one, labels in rows
            for name, label in zip(classes, labels, strict=True)
            if not np.isnan(label)
        ]
    else:
        held = [classes[int(labels.argmax())] in one.conformal_set for one, labels in rows]
        sizes = [len(one.conformal_set) for one in answers]
        assert metrics["conformal"]["set_size"]["value"] == pytest.approx(np.mean(sizes))
    assert metrics["conformal"]["coverage"]["value"] == pytest.approx(np.mean(held))
    p = np.array([one.calibrated for one in answers])
    told = ~np.isnan(scored.labels) if scored.multi_label else scored.labels == 1
    right = np.where(scored.labels == 1, p, 1 - p)[told]
    loss = metrics["calibrated"]["log_loss"]["value"]
    assert loss == pytest.approx(-np.log(right).mean())


def test_what_could_not_be_fitted_is_no_answer() -> None:
    point = OperatingPoint(Wanted(0.9, 0.9, 0.9), 1.0, (None, 0), (None, None), None)
    one = answers_of(point, np.array([3.0, -3.0]), ("a", "b"), multi_label=True)
    assert one.conformal_set is None
    assert one.at_specificity == ("b",)
    assert one.at_sensitivity == ()
