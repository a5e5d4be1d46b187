"""The claimed curve against closed forms and Google's accountant."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from common.privacy.accounting import Segment
from simulations.audit.claim import Claim, make_claim
from simulations.audit.curve import (
    TradeoffCurve,
    claimed_curve,
    gaussian_epsilon,
    gaussian_power,
)
from simulations.audit.settings import AuditedPrivacy

RATES = np.array([1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999])


def pld_power(segment: Segment) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The most that pessimistic δ(ε) of both directions allow at :data:`RATES`."""
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    gaussian = dp_accounting.GaussianDpEvent(segment.noise_multiplier)
    accountant.compose(
        dp_accounting.PoissonSampledDpEvent(segment.sample_rate, gaussian), segment.steps
    )
    epsilons = np.arange(0, 14, 0.02)
    deltas = np.array([accountant.get_delta(e) for e in epsilons])
    odds = np.exp(epsilons)
    first = deltas + odds * RATES[:, None]
    second = 1 - (1 - deltas - RATES[:, None]) / odds
    return np.minimum(first, second).min(axis=1)


@pytest.mark.parametrize(
    "segment", [Segment(0.1, 1.14, 200), Segment(0.02, 0.8, 500), Segment(0.5, 3.0, 40)]
)
def test_the_curve_is_that_of_googles_accountant(segment: Segment) -> None:
    """Never below it, and above by what 0.005 in ε costs; PLD's own grid is 1e-4."""
    ours, theirs = claimed_curve(segment).power(RATES), pld_power(segment)
    assert (ours > theirs - 1e-4).all()
    np.testing.assert_allclose(ours, theirs, rtol=0.012, atol=2e-8)


@pytest.mark.parametrize(("sigma", "steps"), [(10.0, 50), (2.0, 1), (5.0, 100)])
def test_without_sampling_the_curve_is_the_gaussians(sigma: float, steps: int) -> None:
    mu = math.sqrt(steps) / sigma
    curve = claimed_curve(Segment(1.0, sigma, steps))
    exact = gaussian_power(RATES, mu)
    assert (curve.power(RATES) >= exact).all()
    np.testing.assert_allclose(curve.power(RATES), exact, rtol=0.012)
    # a guess at even odds is right with Φ(μ/2)
    assert curve.accuracy == pytest.approx(float(gaussian_power(0.5, mu / 2)), abs=0.002)


def test_the_curve_is_concave_symmetric_and_its_own_inverse(curve: TradeoffCurve) -> None:
    assert (np.diff(curve.rates) >= 0).all()
    assert (np.diff(curve.powers) >= 0).all()
    assert (curve.power(RATES) > RATES).all()
    middle = curve.power((RATES[:-1] + RATES[1:]) / 2)
    assert (middle >= (curve.power(RATES[:-1]) + curve.power(RATES[1:])) / 2 - 1e-12).all()
    np.testing.assert_allclose(1 - curve.power(1 - curve.power(RATES)), RATES, rtol=1e-6)
    np.testing.assert_allclose(curve.rate(curve.power(RATES)), RATES, rtol=1e-6)
    assert curve.rate(curve.powers[0] / 2) == 0.0


def test_epsilon_of_a_gaussian_curve() -> None:
    """μ = 1 is ε = 4.377 at δ = 1e-5 (Balle and Wang 2018, analytic Gaussian mechanism)."""
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.3772, abs=1e-3)
    assert gaussian_epsilon(0.0, 1e-5) == 0.0
    assert gaussian_epsilon(6.0, 1e-5) == pytest.approx(41.9, abs=3)


def test_the_claim_names_everything(claim: Claim) -> None:
    assert claim.epsilon_pld is not None
    assert claim.epsilon_prv is not None
    assert claim.epsilon_pld <= claim.epsilon_prv <= 8.0 < claim.epsilon_rdp
    for part in ("PRV 7.8", "PLD 7.8", "RDP 8.6", "δ=1e-05", "patient", "add-or-remove-one"):
        assert part in claim.text


def test_where_prv_gives_way_the_claim_says_so(claim: Claim) -> None:
    without = replace(claim, epsilon_prv=None)
    assert "PRV not asked" in without.text
    assert without.epsilon == "8.682 (RDP)"
    assert claim.epsilon.endswith("(PRV)")


def test_without_googles_accountant_the_claim_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    claim = make_claim(AuditedPrivacy(sample_rate=0.5), 1)
    assert claim.epsilon_pld is None
    assert "PLD not installed" in claim.text


def test_the_score_at_a_rate_is_the_slope_of_the_curve() -> None:
    """A Gaussian of shift μ has slope φ(x − μ) / φ(x) = exp(μx − μ²/2) where 1 − Φ(x) is α."""
    mu, rate = 1.5, 0.005
    x = 2.5758293  # Φ⁻¹(1 − 0.005)
    curve = claimed_curve(Segment(1.0, 10.0, 225))
    assert curve.score(rate) == pytest.approx(mu * x - mu**2 / 2, abs=0.05)
