"""The CA, and the certificates that it signs: X.509 version 3 by the profile of RFC 5280.

Each server name is a subjectAltName (RFC 5280, section 4.2.1.6); the subject's common name is for
people and checked by nobody (RFC 9525, section 6.3). A site's names its key, which the proxy goes
by (``mutual.py``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import SettingsError
from common.node_keys import fingerprint
from server.provision.settings import CA_DAYS

BACKDATED = timedelta(minutes=5)
"""A site's clock that is a little slow must not see a certificate from the future."""
SUPERLINK_NAMES = ("localhost", "127.0.0.1")

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP384R1())


def private_pem(key: Key) -> bytes:
    """PKCS #8 without a passphrase, as nginx and the SuperLink read it; write it with 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def new_authority(name: str, key: Key, now: datetime) -> x509.Certificate:
    """Self-sign the CA of consortium ``name``; it may sign certificates, but no further CA."""
    subject = _subject(name, "fedrounds CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    return builder.sign(key, hashes.SHA384())


def new_server_certificate(
    authority: x509.Certificate,
    authority_key: Key,
    key: Key,
    names: Sequence[str],
    now: datetime,
    days: int,
) -> x509.Certificate:
    """Sign a TLS server's certificate for ``names``, which ends with the CA at the latest.

    Args:
        authority: the CA's certificate; ``authority_key`` signs.
        key: the server's key, of which only the public half is used.
        names: DNS names and IP addresses.
        now: UTC; the certificate holds from five minutes before.
        days: how long it holds from ``now``.

    Raises:
        SettingsError: where the CA itself has ended.
    """
    subject = _subject(_name_of(authority), "fedrounds server")
    builder = (
        _issued(authority, key.public_key(), subject, now, days)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alt_names(names)), critical=False)
    )
    return builder.sign(authority_key, hashes.SHA384())


def new_site_certificate(
    authority: x509.Certificate, authority_key: Key, line: str, now: datetime, days: int
) -> x509.Certificate:
    """Sign a TLS client's certificate for a site's node key, named by the key's fingerprint.

    Args:
        authority: the CA's certificate; ``authority_key`` signs.
        line: the site's public key.
        now: UTC; the certificate holds from five minutes before.
        days: how long it holds from ``now``.

    Raises:
        SettingsError: where the CA itself has ended.
    """
    key = load_ssh_public_key(line.encode())
    subject = site_subject(authority, line)
    builder = _issued(authority, cast(PublicKey, key), subject, now, days).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    return builder.sign(authority_key, hashes.SHA384())


def site_subject(authority: x509.Certificate, line: str) -> x509.Name:
    """The name in the certificate of a node key: its fingerprint, so that no two keys share one."""
    return _subject(_name_of(authority), fingerprint(line))


def server_names(host: str) -> tuple[str, ...]:
    """The proxy's names: the host, and on one machine the other names of loopback too."""
    return tuple(dict.fromkeys((host, *SUPERLINK_NAMES))) if is_loopback(host) else (host,)


def alt_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """An address as iPAddress, anything else as dNSName."""
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_private_key(path: Path) -> Key:
    """Read an EC private key.

    Raises:
        SettingsError: where it is missing or another thing; what it holds is never repeated.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"{path}: expected a private key: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: expected a PEM private key without a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path}: expected an EC private key")
    return key


def _issued(
    authority: x509.Certificate, key: PublicKey, subject: x509.Name, now: datetime, days: int
) -> x509.CertificateBuilder:
    """What the CA's certificates for others have in common; none outlives the CA."""
    end = authority.not_valid_after_utc
    if now >= end:
        raise SettingsError(
            f"the CA ended on {end:%Y-%m-%d}: make a new consortium with 'fedrounds "
            "provision', and send every site its new kit"
        )
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(subject, key, now, min(now + timedelta(days=days), end))
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
    )


def _builder(
    subject: x509.Name, key: PublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())  # 159 random bits (section 4.1.2.2)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
    )


def _name_of(authority: x509.Certificate) -> str:
    """The consortium's name, which the CA carries."""
    return str(authority.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)


def _subject(organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """Section 4.2.1.3: a CA signs certificates and revocation lists, the others handshakes."""
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
