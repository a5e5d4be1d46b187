"""The CA of a consortium, as it is needed to sign."""

from __future__ import annotations

from cryptography import x509

from common.errors import SettingsError
from server.provision.certificates import Key, read_private_key
from server.provision.consortium import Consortium, read_certificate


def read_authority(consortium: Consortium) -> tuple[x509.Certificate, Key]:
    """The CA's certificate and key.

    Raises:
        SettingsError: where ``ca.key`` is missing or of another CA.
    """
    authority = read_certificate(consortium.ca_certificate)
    if not consortium.ca_key.exists():
        raise SettingsError(
            f"{consortium.ca_key}: expected the CA's key; put it back from where you keep it"
        )
    key = read_private_key(consortium.ca_key)
    if key.public_key() != authority.public_key():
        raise SettingsError(f"{consortium.ca_key}: is the key of another CA than ca.crt")
    return authority, key
