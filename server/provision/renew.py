"""New certificates for the server, under the same CA, so that no site has to do anything."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from common.checkpoint import write_bytes
from common.errors import SettingsError
from server.provision.audit import write_audit
from server.provision.certificates import (
    SUPERLINK_NAMES,
    certificate_pem,
    new_server_certificate,
    read_private_key,
    server_names,
)
from server.provision.consortium import Consortium, only_command, read_certificate
from server.provision.settings import days_problems


def renew(folder: Path, days: int, now: datetime) -> Consortium:
    """Replace ``server.crt`` and ``superlink.crt``; the keys stay, so each is replaced in one step.

    Raises:
        SettingsError: where ``ca.key`` or a server's key is missing or of another CA, or the CA
            has ended.
    """
    problems = days_problems(days)
    if problems:
        raise SettingsError(problems)
    with only_command(folder):
        consortium = Consortium.open(folder)
        authority = read_certificate(consortium.ca_certificate)
        if not consortium.ca_key.exists():
            raise SettingsError(
                f"{consortium.ca_key}: expected the CA's key; put it back from where you keep it"
            )
        authority_key = read_private_key(consortium.ca_key)
        if authority_key.public_key() != authority.public_key():
            raise SettingsError(f"{consortium.ca_key}: is the key of another CA than ca.crt")
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
    return consortium
