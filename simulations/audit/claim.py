"""What is claimed of the audited training: its constants, and ε by each accountant."""

from __future__ import annotations

from dataclasses import dataclass

from common.privacy.accounting import ADJACENCY, Segment, epsilon, plan_noise_multiplier
from simulations.audit.settings import AuditedPrivacy

MAX_GRAD_NORM = 1.0
"""C. Everything is measured in units of C, so the audit is the same for any other."""


@dataclass(frozen=True)
class Claim:
    """A training's public constants, and the ε that they are said to give one patient."""

    sample_rate: float
    noise_multiplier: float
    steps: int
    max_grad_norm: float
    delta: float
    epsilon_prv: float | None
    """``None`` where the history is one that PRV is not asked for (``common/privacy``)."""
    epsilon_rdp: float
    epsilon_pld: float | None
    """``None`` where dp-accounting is not installed."""
    unit: str = "patient"
    adjacency: str = ADJACENCY

    @property
    def segment(self) -> Segment:
        return Segment(self.sample_rate, self.noise_multiplier, self.steps)

    @property
    def epsilon(self) -> str:
        """ε as a training reports it, and by which accountant."""
        if self.epsilon_prv is None:
            return f"{self.epsilon_rdp:.3f} (RDP)"
        return f"{self.epsilon_prv:.3f} (PRV)"

    @property
    def text(self) -> str:
        """ε with all that it needs beside it."""
        prv = "PRV not asked" if self.epsilon_prv is None else f"PRV {self.epsilon_prv:.3f}"
        pld = "PLD not installed" if self.epsilon_pld is None else f"PLD {self.epsilon_pld:.3f}"
        return (
            f"claimed: ε = {prv}, {pld}, RDP {self.epsilon_rdp:.3f} at "
            f"δ={self.delta:g} for each {self.unit} ({self.adjacency}); σ={self.noise_multiplier:g}"
            f" q={self.sample_rate:g} C={self.max_grad_norm:g}, {self.steps} steps"
        )


def make_claim(privacy: AuditedPrivacy, steps: int) -> Claim:
    """Plan σ for the ε asked for, as a training would, and price it by every accountant.

    Raises:
        PrivacyError: where no σ is enough.
    """
    q, delta = privacy.sample_rate, privacy.delta
    return price(Segment(q, plan_noise_multiplier(privacy.epsilon, delta, q, steps), steps), delta)


def price(segment: Segment, delta: float, max_grad_norm: float = MAX_GRAD_NORM) -> Claim:
    """The claim that goes with some noisy steps at a ``delta``."""
    prv = epsilon([segment], delta, "prv")
    return Claim(
        sample_rate=segment.sample_rate,
        noise_multiplier=segment.noise_multiplier,
        steps=segment.steps,
        max_grad_norm=max_grad_norm,
        delta=delta,
        epsilon_prv=prv.epsilon if prv.accountant == "prv" else None,
        epsilon_rdp=epsilon([segment], delta, "rdp").epsilon,
        epsilon_pld=pld_epsilon(segment, delta),
    )


def pld_epsilon(segment: Segment, delta: float) -> float | None:
    """ε by Google's privacy loss distributions (Doroshenko et al. 2022), where installed."""
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
    except ImportError:
        return None
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    gaussian = dp_accounting.GaussianDpEvent(segment.noise_multiplier)
    accountant.compose(
        dp_accounting.PoissonSampledDpEvent(segment.sample_rate, gaussian), segment.steps
    )
    return float(accountant.get_epsilon(delta))
