"""FedProx: FedAvg of sites that are held to the shared model (Li et al. 2020, algorithm 2).

Site k minimises Fₖ(w) + (μ/2) ‖w − wᵗ‖² (eq. 2), with μ = ``strategy.proximal``. Its term is added
to the gradient at the site, after clip and noise (``client/drift.py``); the server does what FedAvg
does.
"""

from __future__ import annotations

from server.strategies.base import STRATEGIES
from server.strategies.fedavg import FedAvg


@STRATEGIES.register("fedprox")
class FedProx(FedAvg):
    """FedAvg here; the site reads ``strategy.proximal``."""
