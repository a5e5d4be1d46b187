"""Paired differences, against a bootstrap of the scores themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from common.metrics import Scored, count, count_replicates
from common.metrics.bootstrap import draw_patients
from common.metrics.figures import Reading
from common.metrics.paired import difference
from tests.common.metrics.images import CLASSES, single_label

PATIENTS, REPLICATES = 150, 200
DRAWN = draw_patients("key", "site test", PATIENTS, REPLICATES)


def reading(scored: Scored) -> Reading:
    return Reading(count(scored), CLASSES, count_replicates(scored, DRAWN), None)


def test_it_is_the_bootstrap_of_the_difference_and_narrower_than_of_each() -> None:
    one = single_label(PATIENTS)
    noise = np.random.default_rng(1).normal(0, 0.5, one.logits.shape)
    other = replace(one, logits=one.logits + noise)

    def by_hand(weights: np.ndarray) -> float:
        """Class a's AUROC of both models, on some patients."""
        truth = np.repeat(one.labels[:, 0], weights)
        both = [np.repeat(softmax(s.logits, axis=1)[:, 0], weights) for s in (one, other)]
        return float(roc_auc_score(truth, both[0]) - roc_auc_score(truth, both[1]))

    found = difference(reading(one), reading(other), "auroc", 0)
    assert found["value"] == pytest.approx(by_hand(np.ones(PATIENTS, int)), abs=1e-9)
    fewest = int(min(one.labels[:, 0].sum(), (1 - one.labels[:, 0]).sum()))
    spread = np.std([by_hand(weights) for weights in DRAWN], ddof=1)
    half = t.ppf(0.975, fewest - 1) * np.sqrt(fewest / (fewest - 1)) * spread
    assert found["high"] - found["value"] == pytest.approx(half, abs=1e-9)
    assert found["value"] - found["low"] == pytest.approx(half, abs=1e-9)
    alone = reading(one).by_class("auroc")["a"]
    assert 2 * half < 0.7 * (alone["high"] - alone["low"])


def test_a_model_does_not_differ_from_itself() -> None:
    one = reading(single_label(PATIENTS))
    found = difference(one, one, "auroc_macro")
    assert (found["value"], found["low"], found["support"]) == (0.0, None, PATIENTS)


def test_to_a_share_that_resampling_does_not_move_there_is_no_interval() -> None:
    one = single_label(PATIENTS)
    perfect = reading(replace(one, logits=one.logits + 100 * one.labels))
    for pair in ((perfect, reading(one)), (reading(one), perfect)):
        found = difference(*pair, "auroc", 0)
        assert abs(found["value"]) > 0.05
        assert found["low"] is None
    assert difference(perfect, reading(one), "log_loss")["low"] is not None
