"""What a consortium holds: sites and their keys, certificates and their ends, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from common.errors import SettingsError
from common.node_keys import fingerprint
from server.provision.certificates import alt_names, read_private_key, server_names
from server.provision.consortium import Consortium, read_certificate
from server.provision.keys import read_public_key
from server.provision.members import revoked_site

SOON_DAYS = 30


@dataclass(frozen=True)
class SiteState:
    """One site: ``registered`` has a key, ``revoked`` had one, ``waiting`` has sent none yet."""

    name: str
    state: Literal["waiting", "registered", "revoked"]
    fingerprint: str | None
    revoked: tuple[str, ...]
    """Fingerprints of the keys it had."""


@dataclass(frozen=True)
class CertificateState:
    file: str
    names: tuple[str, ...]
    begins: str
    ends: str
    """UTC, ISO 8601."""
    days_left: int
    """Whole days; negative once it has ended."""


@dataclass(frozen=True)
class Overview:
    name: str
    address: str
    sites: tuple[SiteState, ...]
    certificates: tuple[CertificateState, ...]
    warnings: tuple[str, ...]


def overview(consortium: Consortium, now: datetime) -> Overview:
    """Look at every key and certificate.

    Raises:
        SettingsError: where a certificate or a public key cannot be read.
    """
    files = (
        consortium.ca_certificate,
        consortium.server_certificate,
        consortium.superlink_certificate,
    )
    of_sites = sorted((consortium.folder / "certificates").glob("*.crt"))
    certificates = tuple(_certificate(path, now) for path in (*files, *of_sites))
    sites = _sites(consortium)
    warnings = [
        *_ending(certificates),
        *_unfit(consortium),
        *_readable_by_others(consortium),
        *(f"{s.name}: has no registered key yet" for s in sites if s.state == "waiting"),
        *_strangers(consortium),
    ]
    return Overview(consortium.name, consortium.address, sites, certificates, tuple(warnings))


def _sites(consortium: Consortium) -> tuple[SiteState, ...]:
    keys = consortium.registered_keys()
    revoked: dict[str, list[str]] = {site: [] for site in consortium.sites}
    for path in consortium.revoked_files():
        revoked.setdefault(revoked_site(path), []).append(fingerprint(read_public_key(path)))
    found = []
    for site in consortium.sites:
        key = fingerprint(read_public_key(keys[site])) if site in keys else None
        out: Literal["waiting", "revoked"] = "revoked" if revoked[site] else "waiting"
        found.append(SiteState(site, "registered" if key else out, key, tuple(revoked[site])))
    return tuple(found)


def _certificate(path: Path, now: datetime) -> CertificateState:
    certificate = read_certificate(path)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    names = tuple(str(name.value) for name in _names(certificate))
    left = (ends - now).days
    return CertificateState(path.name, names, begins.isoformat(), ends.isoformat(), left)


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(extension.value)


def _ending(certificates: tuple[CertificateState, ...]) -> list[str]:
    lines = []
    for state in certificates:
        if state.days_left >= SOON_DAYS:
            continue
        when = f"{'ended' if state.days_left < 0 else 'ends'} on {state.ends[:10]}"
        todo = (
            "a new consortium is needed, and a new kit for every site"
            if state.file == "ca.crt"
            else "'fedrounds provision renew COORDINATOR' makes a new one"
        )
        lines.append(f"{state.file}: {when}; {todo}")
    return lines


def _unfit(consortium: Consortium) -> list[str]:
    """Certificates that are of another CA, another key or other names than they should be."""
    authority = read_certificate(consortium.ca_certificate)
    wanted = alt_names(server_names(consortium.host))
    lines = []
    for path, key in (
        (consortium.server_certificate, consortium.server_key),
        (consortium.superlink_certificate, consortium.superlink_key),
    ):
        certificate = read_certificate(path)
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            lines.append(f"{path.name}: was not signed by ca.crt")
        try:
            if read_private_key(key).public_key() != certificate.public_key():
                lines.append(f"{path.name}: is not the certificate of {key.name}")
        except SettingsError as error:
            lines.append(str(error))
    if not set(wanted) <= set(_names(read_certificate(consortium.server_certificate))):
        lines.append(
            f"server.crt: does not name {consortium.host}, the host in consortium.yaml; "
            "'fedrounds provision renew COORDINATOR' makes one that does"
        )
    return lines


def _readable_by_others(consortium: Consortium) -> list[str]:
    keys = (consortium.ca_key, consortium.server_key, consortium.superlink_key)
    return [
        f"{path.name}: can be read by others; 'chmod 600 {path.name}'"
        for path in keys
        if path.exists() and path.stat().st_mode & 0o077
    ]


def _strangers(consortium: Consortium) -> list[str]:
    known = {consortium.key_file(site).name for site in consortium.sites}
    found = sorted(path.name for path in (consortium.folder / "keys").glob("*.pub"))
    return [
        f"keys/{name}: of no site in consortium.yaml, so nobody is let in with it"
        for name in found
        if name not in known
    ]
