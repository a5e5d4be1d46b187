"""New certificates under the same CA: no site has to do anything for the server's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from common.checkpoint import write_bytes
from common.errors import SettingsError
from server.provision.audit import write_audit
from server.provision.authority import read_authority
from server.provision.certificates import (
    SUPERLINK_NAMES,
    certificate_pem,
    new_server_certificate,
    read_private_key,
    server_names,
)
from server.provision.consortium import Consortium, only_command
from server.provision.keys import read_public_key
from server.provision.mutual import certify
from server.provision.settings import days_problems


def renew(folder: Path, days: int, now: datetime) -> Consortium:
    """Replace the server's certificates, and with mutual TLS each site's; the keys stay.

    Raises:
        SettingsError: where ``ca.key`` or a server's key is missing or of another CA, or the CA
            has ended.
    """
    problems = days_problems(days)
    if problems:
        raise SettingsError(problems)
    with only_command(folder):
        consortium = Consortium.open(folder)
        authority, authority_key = read_authority(consortium)
        pairs = (
            (consortium.server_key, consortium.server_certificate, server_names(consortium.host)),
            (consortium.superlink_key, consortium.superlink_certificate, SUPERLINK_NAMES),
        )
        renewed = [
            (path, new_server_certificate(authority, authority_key, key, names, now, days))
            for key, path, names in [(read_private_key(k), p, n) for k, p, n in pairs]
        ]
        for path, certificate in renewed:
            write_bytes(path, certificate_pem(certificate))
            end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            write_audit(consortium.folder, "renewed", certificate=path.name, until=end)
        if consortium.mutual_tls:
            for site, path in consortium.registered_keys().items():
                certify(consortium, site, read_public_key(path), now, days)
    return consortium
