"""ε by Rényi divergences (Mironov 2017, https://arxiv.org/abs/1702.07476), as Opacus takes them."""

from __future__ import annotations

import math
from functools import lru_cache

from common.privacy.history import History

ORDERS: tuple[float, ...] = (*(1 + tenth / 10 for tenth in range(1, 100)), *range(12, 64))
"""Opacus's ``RDPAccountant.DEFAULT_ALPHAS``."""


def rdp_epsilon_at(history: History, delta: float, order: float) -> float:
    """ε at ``delta`` by one order: the divergences add, and the sum is converted.

    The conversion is theorem 21 of Balle et al. 2020 (https://arxiv.org/abs/1905.09982).
    """
    total = sum(s.steps * _divergence(s.sample_rate, s.noise_multiplier, order) for s in history)
    shift = (math.log(delta) + math.log(order)) / (order - 1)
    return max(0.0, total - shift + math.log((order - 1) / order))


def rdp_epsilon(history: History, delta: float) -> float:
    """ε at ``delta`` by the best order.

    Times (order − 1), the conversion is convex in the order: the logarithm of a moment, plus a
    logarithm over δ, plus (a − 1) log (a − 1) − a log a. A convex function over a positive affine
    one falls, then rises: so the least of all orders is found by halving, and most of them are
    never computed.
    """

    def at(index: int) -> float:
        return rdp_epsilon_at(history, delta, ORDERS[index])

    low, high = 0, len(ORDERS) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) <= at(middle + 1) else (middle + 1, high)
    return at(low)


@lru_cache(maxsize=2**16)
def _divergence(sample_rate: float, noise_multiplier: float, order: float) -> float:
    """Rényi divergence of one step at one order; ∞ where it overflows."""
    from opacus.accountants.analysis.rdp import compute_rdp  # 2 s, which only a price is worth

    try:
        found = float(
            compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=[order])[
                0
            ]
        )
    except (ValueError, OverflowError):
        return math.inf
    return max(0.0, found)  # rounding puts it a hair below 0 where q is least
