"""Seconds of an ε query: 1,000 equal rounds, and PRV beside RDP over several histories.

    python -m simulations.benchmarks.accounting [--json] [repeats=5]

Each repeat moves σ by a billionth, so that no cache helps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

from common.privacy.accounting import Accountant, Segment, epsilon, plan_noise_multiplier
from simulations.benchmarks.command import no_more, run, take_count, take_json
from simulations.benchmarks.timing import Timing, measure, tell

DELTA = 1e-5
ROUNDS = [Segment(0.1, 1.13, 10)] * 1000
HISTORIES: dict[str, Sequence[Segment]] = {
    "one run: q=0.1, σ=1.13, 200 steps": [Segment(0.1, 1.13, 200)],
    "long: q=0.02, σ=1, 2,000 steps": [Segment(0.02, 1.0, 2000)],
    "much noise: q=0.1, σ=6.06, 10,000 steps": [Segment(0.1, 6.06, 10_000)],
    "little noise: q=0.074, σ=0.4, 200 steps": [Segment(0.074, 0.4, 200)],
    "too much for PRV: q=0.074, σ=0.4, 3,449 steps": [Segment(0.074, 0.4, 3449)],
    "8 unequal runs": [Segment(0.05, 1.2 + 0.1 * k, 50) for k in range(8)],
    "100 unequal runs": [Segment(0.05, 1.0 + 0.01 * k, 50) for k in range(100)],
}


def main(words: Sequence[str]) -> None:
    """Measure and print."""
    as_json, words = take_json(words)
    repeats, words = take_count(words, "repeats", 5)
    no_more(words, "repeats=N", "--json")
    facts = {name: version(name) for name in ("opacus", "numpy", "scipy")}
    tell(f"ε at δ = {DELTA:g}", timings(repeats), as_json, **facts)


def timings(repeats: int) -> list[Timing]:
    """Every measurement, in the order of the table."""
    found = [measure("1,000 equal rounds, prv", query(ROUNDS, "prv"), repeats)]
    for name, history in HISTORIES.items():
        found += [measure(f"{name}, {by}", query(history, by), repeats) for by in ("prv", "rdp")]

    def plan(number: int) -> str:
        return f"σ = {plan_noise_multiplier(8.0, DELTA, 0.1 + number * 1e-9, 200):.2f}"

    return [*found, measure("σ for ε = 8: q=0.1, 200 steps", plan, repeats)]


def query(history: Sequence[Segment], accountant: Accountant) -> Callable[[int], str]:
    """A call that asks for ε of ``history``, with σ moved by its number in billionths."""
    sign = 1 if accountant == "prv" else -1  # PRV also asks RDP: neither may help the other

    def ask(number: int) -> str:
        shift = sign * (number + 1) * 1e-9
        moved = [Segment(s.sample_rate, s.noise_multiplier + shift, s.steps) for s in history]
        spent = epsilon(moved, DELTA, accountant)
        return f"ε = {spent.epsilon:.3f} ({spent.accountant})"

    return ask


if __name__ == "__main__":
    run(main)
