"""What one lying site may answer, knowing all: pure functions of everybody's true answers.

A model is a row of float64 (``server/strategies/robust.py``). Each attack takes what was sent (d,),
the honest sites' answers (n − 1, d) and what the attacker itself would have answered (d,), and
gives what it answers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from server.strategies.robust import Rows, squared_distances

Attack = Callable[[Rows, Rows, Rows], Rows]

FLIP = -4.0
"""Of the update: the sign-flipping attack of Li et al. 2019 (RSA, section 5)."""
BLOW_UP = 1e6
ALIE_Z = 1.5
"""Deviations from the mean, as in the experiments of Baruch et al. 2019. Their bound (eq. 3), made
for many liars, gives 0 for one of seven: it would be no attack."""


def sign_flip(sent: Rows, honest: Rows, own: Rows) -> Rows:  # noqa: ARG001
    """The update, backwards and longer."""
    return sent + FLIP * (own - sent)


def blow_up(sent: Rows, honest: Rows, own: Rows) -> Rows:  # noqa: ARG001
    """The update a million times."""
    return sent + BLOW_UP * (own - sent)


def alie(sent: Rows, honest: Rows, own: Rows) -> Rows:  # noqa: ARG001
    """A little is enough (Baruch et al. 2019, algorithm 3): μ − z σ of the honest answers."""
    answer: Rows = honest.mean(axis=0) - ALIE_Z * honest.std(axis=0)
    return answer


def min_max(sent: Rows, honest: Rows, own: Rows) -> Rows:  # noqa: ARG001
    """As far along −σ as no honest answer is further from another (Shejwalkar and Houmansadr 2021).

    μ − γ σ with the largest γ for which the largest distance to an honest answer is at most the
    largest between two of them (eq. 9 with the inverse standard deviation), by bisection.
    """
    mean: Rows = honest.mean(axis=0)
    deviation: Rows = honest.std(axis=0)
    if not deviation.any():
        return mean
    allowed = squared_distances(honest).max()

    def fits(gamma: float) -> bool:
        return bool((((mean - gamma * deviation) - honest) ** 2).sum(axis=1).max() <= allowed)

    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return mean - low * deviation


ATTACKS: Mapping[str, Attack] = {
    "sign_flip": sign_flip,
    "alie": alie,
    "min_max": min_max,
    "times_1e6": blow_up,
}
"""By name; a flip of labels is the data's, and so no answer's."""
