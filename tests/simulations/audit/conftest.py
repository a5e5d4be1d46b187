"""One claim for all tests: ε = 8, δ = 1e-5, q = 0.1, 200 steps, and what it allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulations.audit.audit import AuditResult, run_audit
from simulations.audit.claim import Claim, make_claim
from simulations.audit.curve import TradeoffCurve, claimed_curve
from simulations.audit.phantom import phantom_patients
from simulations.audit.settings import AuditedPrivacy

Audit = Callable[..., AuditResult]


@pytest.fixture(scope="session")
def claim() -> Claim:
    return make_claim(AuditedPrivacy(), steps=200)


@pytest.fixture(scope="session")
def curve(claim: Claim) -> TradeoffCurve:
    return claimed_curve(claim.segment)


@pytest.fixture
def audit(claim: Claim, curve: TradeoffCurve) -> Audit:
    """Audit this build with the seed given."""
    torch.set_num_threads(1)

    def run(seed: int = 0, canaries: int = 4096) -> AuditResult:
        return run_audit(claim, curve, canaries, seed, phantom_patients(seed))

    return run
