"""A design runs its arms once and compares them on the same patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from common.config import Settings
from common.errors import SettingsError
from common.start import new_run, resumed_run
from simulations.designs.run import run_design

QUIET = Console(quiet=True)


@pytest.mark.parametrize("design", ["cross_site", "leave_one_site_out"])
def test_every_model_is_scored_at_every_site_and_paired(
    settings: Callable[..., Settings], design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = new_run(settings(f"design={design}", "rounds=1"))
    result = run_design(begun, QUIET)
    comparison = result["comparison"]
    *sites, pooled = comparison["tests"]
    assert pooled == "all sites"
    assert len(sites) == 2
    assert all(set(row) == {*sites, pooled} for row in comparison["matrix"].values())
    others = {f"without-{s}" for s in sites} if design == "leave_one_site_out" else {"pooled"}
    assert set(comparison["matrix"]) == {"federation", *(f"{s} alone" for s in sites), *others}
    # what scoring finds of the federation is what its own sites answered
    for site in result["sites"]:
        found = comparison["matrix"]["federation"][site["name"]]["value"]
        assert found == pytest.approx(site["metrics"]["auroc_macro"]["value"])
    for paired in comparison["differences"]:
        row = comparison["matrix"]
        one, two = row[paired["model"]], row[paired["baseline"]]
        expected = one[paired["test"]]["value"] - two[paired["test"]]["value"]
        assert paired["difference"]["value"] == pytest.approx(expected)
    assert set(comparison["external"]) == (set(sites) if others != {"pooled"} else set())

    (begun.output_dir / "result.json").unlink()  # cut off before the end: no arm runs again
    monkeypatch.setattr("simulations.cells.simulate", lambda *_: pytest.fail("ran again"))
    again = run_design(resumed_run(Path(begun.output_dir)), QUIET)
    assert again["comparison"] == comparison


def test_a_design_that_contradicts_itself_is_refused(settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="says itself who is held out"):
        settings("design=cross_site", "partition.held_out=last")
