"""What a person sees of an audit."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from simulations.audit.audit import AuditResult
from simulations.audit.claim import Claim
from simulations.audit.inversion import Inversion
from simulations.audit.membership import Membership


def print_audit(console: Console, result: AuditResult, claim: Claim) -> None:
    """The tables of one audit."""
    console.print(
        f"{result.canaries} canary patients, {result.included} of them in, beside "
        f"{result.patients} others; {result.seconds:.1f} s",
        highlight=False,
    )
    console.print(_checks(result))
    console.print(_bounds(result, claim))
    console.print(_membership(result.membership))
    gap = result.gap
    console.print(
        f"parametric, outside the verdict: canaries in and out lie {gap.gap:.2f} C apart "
        f"({gap.single:.2f} with one image, {gap.several:.2f} with several), at most "
        f"{gap.claimed:.2f} claimed; shift {gap.shift:.3f}, so ε ≥ {gap.lower_bound:.2f} at "
        f"{gap.confidence:.1%} were both normal",
        highlight=False,
    )


def print_inversion(console: Console, found: Inversion) -> None:
    """How much of a phantom image one update gives back."""
    console.print(
        f"gradient inversion of one update: correlation with the image "
        f"{found.correlation_plain:.3f} without privacy, {found.correlation_private:.3f} with it",
        highlight=False,
    )


def verdict_line(result: AuditResult) -> str:
    """One line: the verdict, and what rejected."""
    if result.verdict == "CONSISTENT":
        return (
            f"seed {result.seed}: CONSISTENT with the claim (an audit can refute a claim, "
            f"never confirm it); false alarm ≤ {result.false_alarm:g}"
        )
    names = ", ".join(check.name for check in result.checks if check.rejected)
    return (
        f"seed {result.seed}: VIOLATION of the claim, by {names}; "
        f"false alarm ≤ {result.false_alarm:g}"
    )


def _checks(result: AuditResult) -> Table:
    share = result.false_alarm / len(result.checks)
    table = Table(title=f"tests of the claim, each rejecting at p < {share:.2g}")
    for heading in ("test", "found", "p", "assumes", ""):
        table.add_column(heading)
    for check in result.checks:
        mark = "REJECTED" if check.rejected else ""
        p_value = f"{check.p_value:.2g}" if check.p_value > 1e-12 else "< 1e-12"
        table.add_row(check.name, check.found, p_value, check.assumes, mark)
    return table


def _bounds(result: AuditResult, claim: Claim) -> Table:
    confidence = result.bounds[0].confidence
    table = Table(
        title=f"lower bounds on ε at δ={claim.delta:g}, confidence {confidence:.1%} each; claimed "
        f"{claim.epsilon}"
    )
    for heading in ("method", "assumes", "right", "lower bound", "detectable at most"):
        table.add_column(heading)
    for bound in result.bounds:
        table.add_row(
            bound.method,
            bound.assumes,
            f"{bound.right}/{bound.guesses}",
            f"{bound.lower_bound:.2f}",
            f"{bound.detectable:.2f}",
        )
    return table


def _membership(rates: list[Membership]) -> Table:
    table = Table(title="membership inference, with 95% intervals")
    for heading in ("false positives", "found", "true positives", "claimed at most"):
        table.add_column(heading)
    for rate in rates:
        low, high = rate.false_positive_interval
        least, most = rate.true_positive_interval
        table.add_row(
            f"{rate.asked:.1%}",
            f"{rate.false_positive_rate:.2%} [{low:.2%}, {high:.2%}]",
            f"{rate.true_positive_rate:.1%} [{least:.1%}, {most:.1%}]",
            f"{rate.allowed:.1%} at {rate.asked:.1%}; {rate.allowed_at_most:.1%} at {high:.2%}",
        )
    return table
