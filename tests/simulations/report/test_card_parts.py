"""What the card says of selection, of sites that did not train, and of releases that differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from common.config import KeepRule
from simulations.report.card import model_card
from simulations.report.card_parts import SELECTION, limits, training_facts
from simulations.report.page import render
from simulations.report.run import FinishedRun


def test_which_model_was_kept_is_told_by_the_rule(changed: Callable[..., FinishedRun]) -> None:
    assert set(SELECTION) == set(get_args(KeepRule))

    def result(facts: dict[str, Any]) -> None:
        facts["kept"] = {"rule": "best_validation", "round": 1}

    assert "last round that was applied, 2" in training_facts(changed())["selection"]
    assert "after round 1, whose pooled macro AUROC" in training_facts(changed(result))["selection"]


def test_a_site_that_did_not_train_is_no_site_that_trained(
    changed: Callable[..., FinishedRun],
) -> None:
    def result(facts: dict[str, Any]) -> None:
        facts["sites"][1]["evaluate_only"] = {"from_round": 1, "reason": "cohort"}

    assert "southgate" not in str(limits(changed()))
    assert "and at southgate, which did not train in this run" in str(limits(changed(result)))


def test_where_releases_differ_every_sites_own_is_told(
    changed: Callable[..., FinishedRun],
) -> None:
    """The pool is of the exact counts; the noised ones stand beside it."""
    noised = {
        "auroc_macro": {"value": 0.625, "low": 0.5, "high": 0.75, "support": {}},
        "auroc": {},
        "left_out": [],
        "noise_std": 2.0,
        "bin_error": 0.01,
    }

    def result(facts: dict[str, Any]) -> None:
        facts["noised_metrics"] = noised
        facts["sites"][1] |= {"released": "noised", "metrics": noised}
        spent = facts["sites"][1]["privacy"]
        facts["sites"][1]["test_privacy"] = {**spent, "epsilon": 2.0, "releases": 1}

    run = changed(result)
    card, page = model_card(run, {}), render(run)
    assert set(card["performance"]["models"]) == {
        "pooled over northfield (exact), without southgate (noised)",
        "sites with noised counts: southgate",
    }
    told = card["privacy"]["test figures"]
    assert told["northfield"].startswith("exact")
    assert told["southgate"].startswith("ε = 2.000")
    assert "0.625 [0.500,\u00a00.750]" in page
    assert "pooled over northfield (exact), without southgate (noised)" in page
    assert "sites with noised counts: southgate" in page
