"""``fedrounds client``: a site's process, and what its data manager tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from client.deploy.certificate import NODE_CERTIFICATE
from client.deploy.consortium import Membership
from client.deploy.flags import Flag, FlagName
from client.deploy.keys import make_key
from common.errors import SettingsError
from common.flower import quiet_environment
from common.journal import Journal, user
from common.node_keys import fingerprint
from common.schema import suggest

HELP = """\
usage: fedrounds client SITE [--check]
       fedrounds client ACTION SITE

Serves a site's images to its consortium: connects out to the coordinator, approves runs, trains.
SITE is the site's folder: its start-up kit, filled in. What runs here is the package installed
here; code that the server sends is refused.

  SITE           serve until interrupted; waits for the server, and comes back after its restarts
  SITE --check   try clock, certificate, key, disk, settings, ledger and data; exit 1 if one fails

  init SITE      make this site's key (node.key, node.pub), once, and print its public half
  pause SITE     stop serving; a running client waits, and a round under way is lost to the site
  resume SITE    serve again, after pause or leave
  leave SITE     stop serving for good: a running client ends, and a new one does not start
  runs SITE      the runs that were asked for, their price, and what was decided
  approve SITE RUN, refuse SITE RUN
                 decide on a run, where consortium.yaml says 'approve: ask'; RUN is its id, or the
                 first letters of it

exit codes: 0 done, 1 a check fell short, 2 wrong settings or refused by the server,
130 interrupted (Ctrl-C, SIGTERM; every process ends within 10 s)
"""


def help_text() -> str:
    return HELP


def main(words: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    actions: dict[str, Callable[[Path, list[str]], int]] = {
        "init": _init,
        "pause": _pause,
        "resume": _resume,
        "leave": _leave,
        "runs": _runs,
        "approve": lambda folder, rest: _decide(folder, rest, "approved"),
        "refuse": lambda folder, rest: _decide(folder, rest, "refused"),
    }
    check = "--check" in words
    rest = [word for word in words if word != "--check"]
    if rest and rest[0] in actions and not check:
        if len(rest) < 2:
            raise SettingsError(f"expected 'client {rest[0]} SITE'")
        return actions[rest[0]](Path(rest[1]).resolve(), rest[2:])
    if len(rest) != 1:
        hint = suggest(rest[0], actions) if len(rest) > 1 else ""
        raise SettingsError(f"expected 'client SITE' or 'client ACTION SITE'{hint}")
    return _check(Path(rest[0]).resolve()) if check else _serve(Path(rest[0]).resolve())


def _serve(folder: Path) -> int:
    from client.deploy.serve import serve  # slow to import: a wrong word has failed before

    quiet_environment()
    serve(folder)
    return 0


def _check(folder: Path) -> int:
    from client.deploy.checks import run_checks

    results = run_checks(folder)
    width = max(len(result.name) for result in results)
    for result in results:
        print(f"{result.name:<{width}}  {result.state:<7} {result.text}")
    return 1 if any(result.state == "failed" for result in results) else 0


def _init(folder: Path, rest: list[str]) -> int:
    _expect_nothing(rest)
    membership = Membership.open(folder)
    line = make_key(folder, membership.site)
    Journal(folder).audit("key made", key=fingerprint(line), by=user())
    print(f"{folder / 'node.key'}: made, for this machine alone")
    print(f"{folder / 'node.pub'}: send this line to the coordinator:")
    print(line)
    print(f"and read its fingerprint out to them: {fingerprint(line)}")
    if membership.mutual_tls:
        print(f"what they send back is this site's certificate: {folder / NODE_CERTIFICATE}")
    return 0


def _pause(folder: Path, rest: list[str]) -> int:
    return _set(
        folder, rest, "paused", "pausing; nothing is served until 'fedrounds client resume'"
    )


def _leave(folder: Path, rest: list[str]) -> int:
    said = "left; let the coordinator revoke this site's key, and keep the ledger: it goes on"
    return _set(folder, rest, "left", said)


def _set(folder: Path, rest: list[str], name: FlagName, said: str) -> int:
    _expect_nothing(rest)
    Membership.open(folder)
    Flag(folder, name).set()
    Journal(folder).audit(f"{name} asked", by=user())
    print(said)
    return 0


def _resume(folder: Path, rest: list[str]) -> int:
    _expect_nothing(rest)
    Membership.open(folder)
    flags = Flag(folder, "paused"), Flag(folder, "left")
    if not any(flag.is_set() for flag in flags):
        raise SettingsError(f"{folder}: neither paused nor left")
    for flag in flags:
        flag.clear()
    Journal(folder).audit("resume asked", by=user())
    print(f"serves again; start it with 'fedrounds client {folder}' where it does not run")
    return 0


def _runs(folder: Path, rest: list[str]) -> int:
    from client.deploy.approvals import approvals

    _expect_nothing(rest)
    Membership.open(folder)
    found = approvals(folder)
    for approval in found:
        by = f" by {approval.by}" if approval.by else ""
        print(f"{approval.decision}{by}: {approval.words()}")
    if not found:
        print("no run has been asked for")
    return 0


def _decide(folder: Path, rest: list[str], decision: Literal["approved", "refused"]) -> int:
    from client.deploy.approvals import decide

    if len(rest) != 1:
        raise SettingsError("expected 'client approve SITE RUN' or 'client refuse SITE RUN'")
    approval = decide(folder, rest[0], decision, user())
    print(f"{approval.decision}: {approval.words()}")
    return 0


def _expect_nothing(rest: Sequence[str]) -> None:
    if rest:
        raise SettingsError(f"expected nothing more after SITE, got {' '.join(rest)}")
