"""Figures: what has no support is named, and what has has an interval."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.evaluation import EvaluationSettings
from common.metrics import Counts, OperatingPoint, count, count_replicates, figures
from common.metrics.bootstrap import draw_patients
from tests.common.metrics.images import CLASSES, multi_label, single_label

POINT = OperatingPoint.fit(count(single_label(300, seed=9)), EvaluationSettings())


def test_a_class_without_positives_is_null_and_left_out_by_name() -> None:
    scored = single_label(300)
    kept = scored.take(scored.labels[:, 2] == 0)
    values = figures(count(kept), CLASSES)
    assert values["auroc"]["c"]["value"] is None
    assert values["auroc"]["c"]["support"] == {"positives": 0, "negatives": len(kept)}
    assert values["sensitivity"]["c"]["value"] is None
    assert values["f1"]["c"]["value"] is None
    assert values["left_out"] == ["c"]
    for name in ("auroc_macro", "auprc_macro", "f1_macro"):
        assert values[name]["support"] == {"classes": ["a", "b"]}
        of_class = values[name.removesuffix("_macro")]
        assert values[name]["value"] == pytest.approx(np.mean([of_class[c]["value"] for c in "ab"]))


def test_nothing_at_all_is_null_everywhere() -> None:
    replicates = Counts.zero(3, multi_label=False, replicates=20)
    values = figures(Counts.zero(3, multi_label=False), CLASSES, replicates, POINT)
    for name in ("auroc_macro", "auroc_micro", "balanced_accuracy", "log_loss", "ece", "mcc"):
        assert values[name]["value"] is None
        assert values[name]["low"] is None
    assert values["abstention"] == []
    json.dumps(values, allow_nan=False)


def test_few_positives_stay_out_of_the_supported_macro() -> None:
    scored = single_label(60)
    few = [c for k, c in enumerate(CLASSES) if scored.labels[:, k].sum() < 10]
    supported = figures(count(scored), CLASSES)["auroc_macro_supported"]
    assert few
    assert supported["support"]["classes"] == [c for c in CLASSES if c not in few]


def test_every_figure_has_an_interval_around_it() -> None:
    for scored, classes in ((single_label(400), CLASSES), (multi_label(400), ("x", "y"))):
        point = OperatingPoint.fit(count(scored), EvaluationSettings())
        weights = draw_patients("key", "site test", 400, 100)
        values = figures(count(scored), classes, count_replicates(scored, weights), point)
        found = list(_figures_in(values))
        assert len(found) > 50
        for name, figure in found:
            if figure["value"] not in (0.0, 1.0):
                assert figure["low"] < figure["value"] < figure["high"], name
                assert figure["high"] - figure["low"] < 0.5, name
        json.dumps(values, allow_nan=False)


def test_without_replicates_there_are_no_intervals() -> None:
    for _, figure in _figures_in(figures(count(single_label(200)), CLASSES, point=POINT)):
        assert figure["value"] is not None
        assert (figure["low"], figure["high"]) == (None, None)


def test_one_image_of_a_class_has_no_interval() -> None:
    scored = single_label(200)
    of_c = np.nonzero(scored.labels[:, 2] == 1)[0]
    kept = scored.take(np.setdiff1d(np.arange(200), of_c[1:]))
    weights = draw_patients("key", "site test", len(kept), 100)
    values = figures(count(kept), CLASSES, count_replicates(kept, weights))
    for name in ("auroc", "auprc", "sensitivity", "f1"):
        assert values[name]["c"]["value"] is not None
        assert values[name]["c"]["low"] is None
        assert values[name]["a"]["low"] is not None
    assert values["auroc_macro"]["low"] is None
    assert values["balanced_accuracy"]["low"] is None
    assert values["accuracy"]["low"] is not None


def _figures_in(values: object, name: str = "") -> list[tuple[str, dict[str, float]]]:
    if isinstance(values, dict) and {"value", "low", "high"} <= set(values):
        return [(name, values)]
    entries = values.items() if isinstance(values, dict) else ()
    entries = enumerate(values) if isinstance(values, list) else entries
    return [found for key, v in entries for found in _figures_in(v, f"{name}.{key}")]
