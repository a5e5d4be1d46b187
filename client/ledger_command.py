"""``fedrounds ledger``: show, verify, init, recover."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from client.budget import left_of_cap, spent, spent_at_half, spent_on_release
from client.entries import Commit, Entry, Genesis, Intent, Plan, Release, of_kind
from client.init import init_ledger, recover_ledger
from client.site import Site
from common.errors import LedgerError, SettingsError
from common.privacy.accounting import ADJACENCY
from common.schema import suggest

HELP = """\
usage: fedrounds ledger ACTION SITE [--json]

The record of what training has cost the patients of a site; SITE is the site's folder.

  show SITE      every entry, ε after it, and what the site's cap leaves
  verify SITE    exit 0 where the record holds, 1 with the entry that breaks it
  init SITE      make the site's ledger, once; its genesis is written into site.yaml
  recover SITE --assume-spent EPSILON [--delta DELTA] [--reason TEXT]
                 begin a new ledger where the old one is lost or refused. EPSILON at DELTA is
                 charged for what it held; DELTA is half of the policy's δ unless given, and only
                 a larger δ can be stated from then on. Give at least the last figure "for a
                 recovery" that was stated. The old files are kept under another name.

  --json         print JSON (show, verify)

exit codes: 0 done, 1 the record does not hold (verify), 2 wrong words or a ledger that is refused
"""


def help_text() -> str:
    return HELP


def main(words: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    rest = [word for word in words if word != "--json"]
    as_json = len(rest) != len(words)
    actions: dict[str, Callable[[Site, list[str]], int]] = {
        "show": partial(_show, as_json=as_json),
        "verify": partial(_verify, as_json=as_json),
        "init": _init,
        "recover": _recover,
    }
    if len(rest) < 2 or rest[0] not in actions:
        hint = suggest(rest[0], actions) if rest else ""
        raise SettingsError(
            f"expected 'ledger ACTION SITE', ACTION one of {', '.join(actions)}{hint}"
        )
    if as_json and rest[0] in ("init", "recover"):
        raise SettingsError(f"ledger {rest[0]} prints no JSON: leave --json out (show, verify)")
    return actions[rest[0]](Site.open(Path(rest[1])), rest[2:])


def _show(site: Site, rest: list[str], *, as_json: bool) -> int:
    _expect_nothing(rest)
    book = site.ledger().read()
    rows = _rows(book.entries, book.times, site)
    if as_json:
        print(json.dumps({"schema": 1, "site": site.name, "entries": rows}, indent=1))
        return 0
    table = Table("#", "written", "kind", "run", "round", "what", "ε after", "left")
    for row in rows:
        after = "" if row["epsilon"] is None else f"{row['epsilon']:.3f}"
        left = "no cap" if row["left"] is None else f"{row['left']:.3f}"
        table.add_row(
            str(row["entry"]), row["time"], row["kind"], (row["run_id"] or "")[:12],
            str(row["round"] or ""), row["what"], after, left,
        )  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table)
    print(_summary(book.entries, site))
    return 0


def _verify(site: Site, rest: list[str], *, as_json: bool) -> int:
    _expect_nothing(rest)
    problem = None
    try:
        count = len(site.ledger().read().rows)
    except LedgerError as error:
        problem, count = str(error), 0
    if as_json:
        print(json.dumps({"schema": 1, "holds": problem is None, "problem": problem}))
    elif problem is None:
        print(f"{site.ledger().path}: {count} entries, and the chain holds")
    else:
        print(problem, file=sys.stderr)
    return 0 if problem is None else 1


def _init(site: Site, rest: list[str]) -> int:
    _expect_nothing(rest)
    genesis = init_ledger(site)
    ledger = site.ledger()
    print(f"{ledger.path}: made, with genesis {genesis[:16]}… in site.yaml")
    print(f"{ledger.key_path}: its key; keep a copy where the ledger's backups are not")
    return 0


def _recover(site: Site, rest: list[str]) -> int:
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    unknown = set(options) - {"--assume-spent", "--delta", "--reason"}
    if unknown or len(rest) % 2 or "--assume-spent" not in options:
        raise SettingsError(
            "recover expects --assume-spent EPSILON, and may have --delta DELTA and --reason TEXT; "
            f"got {' '.join(rest) or 'nothing'}"
        )
    assumed = _number(options, "--assume-spent", math.inf)
    policy_delta = site.settings.policy.delta
    if "--delta" not in options and policy_delta is None:
        raise SettingsError("--delta must be given: this site's policy has no δ")
    delta = _number(options, "--delta", 1.0) if "--delta" in options else (policy_delta or 0.0) / 2
    genesis = recover_ledger(site, assumed, delta, options.get("--reason", ""))
    print(
        f"{site.ledger().path}: a new ledger, with genesis {genesis[:16]}… in site.yaml and "
        f"ε = {assumed:g} at δ = {delta:g} taken as spent"
    )
    return 0


def _number(options: Mapping[str, str], name: str, below: float) -> float:
    try:
        value = float(options[name])
    except ValueError:
        value = math.nan
    if not 0 < value < below:
        limit = "" if below == math.inf else f" and below {below:g}"
        raise SettingsError(f"{name}: expected a number above 0{limit}, got '{options[name]}'")
    return value


def _rows(entries: Sequence[Entry], times: Sequence[str], site: Site) -> list[dict[str, Any]]:
    """One a ledger entry; ``epsilon`` is of all up to it, ``left`` what the cap leaves then.

    What is left is counted as the next plan will be: by the filter once anything was trained.
    """
    rows: list[dict[str, Any]] = []
    policy, delta = site.settings.policy, _delta(entries, site)
    after: float | None = None
    for number, (entry, written) in enumerate(zip(entries, times, strict=True), start=1):
        if isinstance(entry, (Genesis, Plan)) and delta is not None:
            after = spent(entries[:number], delta).epsilon
        rows.append(
            {
                "entry": number,
                "time": written,
                "kind": type(entry).__name__.lower(),
                "run_id": getattr(entry, "run_id", None),
                "round": getattr(entry, "server_round", None),
                "what": _what(entry),
                "epsilon": after,
                "delta": delta,
                "left": left_of_cap(entries[:number], policy),
            }
        )
    return rows


def _what(entry: Entry) -> str:
    if isinstance(entry, Genesis):
        lost = ""
        if entry.assumed_epsilon:
            lost = f"; ε={entry.assumed_epsilon:g} at δ={entry.assumed_delta:g} assumed spent"
        return f"ledger of {entry.site}{lost} {entry.reason}".rstrip()
    if isinstance(entry, Plan):
        c = entry.charge
        return (
            f"q={c.sample_rate:.4f} σ={c.noise_multiplier:g} C={c.max_grad_norm:g} {c.steps} steps "
            f"δ={entry.delta:g} {entry.accountant}{' adaptive' if entry.adaptive else ''}"
        )
    if isinstance(entry, Intent):
        return f"{entry.steps} steps"
    if isinstance(entry, Release):
        return f"noised release, σ={entry.noise_multiplier:g} δ={entry.delta:g}"
    return f"answer {entry.answer[:12]}…"


def _summary(entries: Sequence[Entry], site: Site) -> str:
    plans, delta = of_kind(entries, Plan), _delta(entries, site)
    if delta is None or not plans:
        return "nothing has been trained under this ledger"
    life = spent(entries, delta)
    taken = sum(intent.steps for intent in of_kind(entries, Intent))
    lines = [
        f"ε = {life.epsilon:.3f} at δ = {delta:g} for each {plans[0].charge.unit} "
        f"({ADJACENCY}, {life.accountant}{', across plans' if len(plans) > 1 else ''}); "
        f"{spent(entries, delta, 'rdp').epsilon:.3f} by RDP",
        f"for a recovery: ε = {spent_at_half(entries, delta, 'prv'):.3f} at δ = {delta / 2:g}",
        f"{len(plans)} plans of {sum(p.charge.steps for p in plans)} steps, {taken} taken in "
        f"{len(of_kind(entries, Intent))} rounds, {len(of_kind(entries, Commit))} answers stored",
    ]
    if site.settings.policy.epsilon_max is not None:
        lines.append(f"the site's cap is ε = {site.settings.policy.epsilon_max:g}")
    if of_kind(entries, Release):
        own = spent_on_release(entries, delta)
        lines.append(f"ε = {own.epsilon:.3f} at δ = {delta:g} for each test patient, its own")
    return "\n".join(lines)


def _delta(entries: Sequence[Entry], site: Site) -> float | None:
    """The policy's δ, or else the last plan's."""
    plans = of_kind(entries, Plan)
    return site.settings.policy.delta or (plans[-1].delta if plans else None)


def _expect_nothing(rest: Sequence[str]) -> None:
    if rest:
        raise SettingsError(f"expected nothing more after SITE, got {' '.join(rest)}")
