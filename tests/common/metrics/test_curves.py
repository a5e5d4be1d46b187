"""ROC curves against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from common.metrics import count, count_replicates
from common.metrics.bootstrap import draw_patients
from common.metrics.curves import roc_curves
from common.metrics.scores import log_odds
from tests.common.metrics.images import CLASSES, single_label


def test_a_curve_is_scikit_learns_with_a_band_around_it() -> None:
    scored = single_label(300)
    weights = draw_patients("key", "site test", 300, 60)
    curves = roc_curves(count(scored), CLASSES, count_replicates(scored, weights))
    odds = log_odds(scored.logits, multi_label=False)
    for k, name in enumerate(CLASSES):
        false, true, _ = roc_curve(scored.labels[:, k], odds[:, k], drop_intermediate=False)
        highest = np.append(np.diff(false) > 0, True)
        expected = np.interp(np.linspace(0, 1, 101), false[highest], true[highest])
        curve = curves[name]
        assert curve["tpr"] == pytest.approx(expected, abs=0.03)
        assert np.median(np.abs(np.array(curve["tpr"]) - expected)) < 1e-9
        low, high = np.array(curve["low"]), np.array(curve["high"])
        assert (low <= curve["tpr"]).all()
        assert (curve["tpr"] <= high).all()
        assert 0.02 < np.mean(high - low) < 0.5


def test_a_class_without_support_has_no_curve_and_without_replicates_there_is_no_band() -> None:
    scored = single_label(300)
    curves = roc_curves(count(scored.take(scored.labels[:, 2] == 0)), CLASSES, None)
    assert list(curves) == ["a", "b"]
    assert curves["a"]["low"] is None
