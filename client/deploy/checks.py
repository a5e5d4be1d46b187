"""``fedrounds client SITE --check``: what can be known to fail before anything is joined."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Literal

from client.deploy.certificate import read_node_certificate, tls_context
from client.deploy.consortium import Membership
from client.deploy.keys import key_fingerprint
from client.gate.pages import check_site
from client.site import Site
from common.errors import FedroundsError, SettingsError

MIN_FREE_BYTES = 2 * 1024**3
"""Room for decoded images, answers and logs."""

AHEAD_SECONDS, BEHIND_SECONDS = 5.0, 305.0
"""How wrong a site's clock may be: Flower 1.41 accepts signatures from −5 s to +305 s."""

TIMEOUT = 10.0


@dataclass(frozen=True)
class Result:
    """One line of the check."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    text: str


class SkippedError(Exception):
    """There is nothing to try; the text says why."""


def run_checks(folder: Path) -> list[Result]:
    """Try everything; one failure does not hide the next."""
    checks: list[tuple[str, Callable[[Path], str]]] = [
        ("consortium", _consortium),
        ("settings", _settings),
        ("key", _key),
        ("disk", _disk),
        ("ledger", _ledger),
        ("data", _data),
        ("server", _server),
        ("clock", _clock),
    ]
    results = []
    for name, check in checks:
        try:
            results.append(Result(name, "ok", check(folder)))
        except SkippedError as reason:
            results.append(Result(name, "skipped", str(reason)))
        except (FedroundsError, OSError, HTTPException) as error:
            results.append(Result(name, "failed", " ".join(str(error).split())))
    return results


def _consortium(folder: Path) -> str:
    membership = Membership.open(folder)
    return f"{membership.name} at {membership.address}, as {membership.site}"


def _settings(folder: Path) -> str:
    site = Site.open(folder)
    expected = Membership.open(folder).site
    if site.name != expected:
        raise SettingsError(f"site.yaml: name: expected '{expected}', got '{site.name}'")
    policy = site.settings.policy
    cap = "no cap" if policy.epsilon_max is None else f"ε ≤ {policy.epsilon_max:g} for life"
    return f"releases {policy.release_metrics} figures, {cap}"


def _key(folder: Path) -> str:
    found = key_fingerprint(folder)
    if Membership.open(folder).mutual_tls:
        found += f", certificate until {read_node_certificate(folder).not_valid_after_utc:%Y-%m-%d}"
    return found


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise SettingsError(f"{free / 1024**3:.1f} GiB are free: expected at least 2")
    return f"{free / 1024**3:.0f} GiB are free"


def _ledger(folder: Path) -> str:
    site = Site.open(folder)
    ledger = site.ledger()
    if ledger.genesis is None and not ledger.path.exists():
        if site.settings.policy.epsilon_max is None:
            raise SkippedError("there is none; runs with privacy need 'fedrounds ledger init'")
        raise SettingsError(f"there is none: make it with 'fedrounds ledger init {folder}'")
    return f"{len(ledger.read().rows)} entries, and the chain holds"


def _data(folder: Path) -> str:
    """What ``fedrounds data`` finds; made anew where settings or files have changed since."""
    report = check_site(Site.open(folder))
    if not report["trains"]:
        raise SettingsError("; ".join(report["problems"]))
    files, refused = report["files"], report["refused"]
    left_out = f", {len(refused)} refused" if refused else ""
    return f"{files['read']} images can be read{left_out}; 'fedrounds data {folder}' says more"


def _server(folder: Path) -> str:
    """TLS to the server: its chain against ``ca.crt``, its name, and what it says to ours."""
    membership = Membership.open(folder)
    connection = _connect(membership, folder)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        facts = connection.sock.getpeercert() or {}
        connection.request("GET", "/")
        if connection.getresponse().status == HTTPStatus.UNAUTHORIZED:
            raise SettingsError(
                f"{membership.address} does not accept this site's certificate: the key was "
                "revoked, or is not registered any more"
            )
        return f"{connection.sock.version()}, certificate until {facts.get('notAfter')}"
    except ssl.SSLCertVerificationError as error:
        raise SettingsError(
            f"the server at {membership.address} is not the one of this kit: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise SettingsError(f"{membership.address} does not speak TLS ({error.reason})") from error
    except (ConnectionError, socket.gaierror, TimeoutError) as error:
        raise SkippedError(f"{membership.address} does not answer now ({error})") from error
    finally:
        connection.close()


def _clock(folder: Path) -> str:
    """This clock against the ``Date`` of the server's answer, whole seconds (RFC 9110, 6.6.1)."""
    connection = _connect(Membership.open(folder), folder)
    try:
        asked = time.time()
        connection.request("GET", "/")
        date = connection.getresponse().getheader("Date")
        now = (asked + time.time()) / 2
    except OSError as error:
        raise SkippedError("the server does not answer now") from error
    finally:
        connection.close()
    if date is None:
        raise SkippedError("the server's answer has no Date")
    offset = now - (parsedate_to_datetime(date).timestamp() + 0.5)
    if not -BEHIND_SECONDS < offset < AHEAD_SECONDS:
        side = "ahead of" if offset > 0 else "behind"
        raise SettingsError(
            f"{abs(offset):.0f} s {side} the server's: its signatures would be refused; use NTP"
        )
    return f"within {abs(offset) + 0.5:.1f} s of the server's"


def _connect(membership: Membership, folder: Path) -> HTTPSConnection:
    context = tls_context(folder, membership)
    return HTTPSConnection(membership.host, membership.port, timeout=TIMEOUT, context=context)
