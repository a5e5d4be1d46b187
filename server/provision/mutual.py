"""Mutual TLS: a certificate for each site's node key, and the list of those that are let in.

A site needs no second key: it signs its calls and its handshakes with one, and TLS 1.3 signs under
a label of its own (RFC 8446, section 4.4.3), so neither signature can pass for the other.

The list names the keys that are registered. It stands where a revocation list would, which
``ca.key`` would have to sign at each revocation, and which would end.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from common.checkpoint import write_bytes
from server.provision.audit import write_audit
from server.provision.authority import read_authority
from server.provision.certificates import certificate_pem, new_site_certificate, site_subject
from server.provision.consortium import Consortium, read_certificate
from server.provision.keys import read_public_key


def certify(consortium: Consortium, site: str, line: str, now: datetime, days: int) -> Path:
    """Write a site's certificate, which is sent to the site as its ``node.crt``.

    Raises:
        SettingsError: where the CA's key is not here, or the CA has ended.
    """
    certificate = new_site_certificate(*read_authority(consortium), line, now, days)
    path = consortium.site_certificate(site)
    write_bytes(path, certificate_pem(certificate))
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    write_audit(consortium.folder, "certified", site=site, until=until)
    return path


def write_admitted(consortium: Consortium) -> None:
    """Write the list that ``nginx.conf`` includes: the certificate's name of each registered key.

    A name is written as nginx reads it in a certificate, by RFC 4514.
    """
    authority = read_certificate(consortium.ca_certificate)
    lines = []
    for site, path in consortium.registered_keys().items():
        name = site_subject(authority, read_public_key(path)).rfc4514_string()
        lines.append(f'"{name}" 0;  # {site}\n')
    write_bytes(consortium.admitted, "".join(lines).encode())
