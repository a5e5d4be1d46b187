"""An audit on a site's patients is a training like any other: priced, capped, kept there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import fedrounds
from client.entries import Intent, Plan, of_kind
from client.site import Site
from tests.conftest import train_ids

FAST = ["canaries=256", "steps=20", "privacy.delta=1e-3"]


def test_a_sites_audit_is_priced_and_stays_there(
    make_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(dict.fromkeys(train_ids(8), 2), public_patients=20, delta=1e-3)
    before = {path for path in site.folder.rglob("*") if path.is_file()}
    assert fedrounds.main(["audit", str(site.folder), *FAST]) == 0
    out = capsys.readouterr().out
    assert "for each patient" in out
    assert "inversion" not in out
    entries = site.ledger().read().entries
    [plan], [intent] = of_kind(entries, Plan), of_kind(entries, Intent)
    assert (plan.charge.sample_rate, intent.steps) == (0.1, 20)
    [result] = site.folder.rglob("audit.json")
    assert result.parent.parent == site.folder / "pages"
    assert json.loads(result.read_text())["audits"][0]["patients"] == 8
    new = {p for p in site.folder.rglob("*") if p.is_file()} - before
    assert not [p for p in new if p.suffix == ".png"]


def test_a_sites_cap_refuses_an_audit_before_an_image_is_used(
    make_site: Callable[..., Site],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = make_site(dict.fromkeys(train_ids(8), 2), public_patients=20, delta=1e-3, epsilon_max=1)
    monkeypatch.setattr("simulations.audit.audit.observe", lambda *_: pytest.fail("trained"))
    assert fedrounds.main(["audit", str(site.folder), *FAST]) == 2
    assert "budget" in capsys.readouterr().err
    assert not of_kind(site.ledger().read().entries, Plan)
    assert not (site.folder / "pages").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [(["output_dir=out"], "stay in its folder"), (["another"], "at most one SITE")],
)
def test_results_of_a_site_go_nowhere_else(
    make_site: Callable[..., Site],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    match: str,
) -> None:
    site = make_site(dict.fromkeys(train_ids(4), 1))
    assert fedrounds.main(["audit", str(site.folder), *FAST, *words]) == 2
    assert match in capsys.readouterr().err
    assert not of_kind(site.ledger().read().entries, Plan)
