"""What a site opens TLS to the coordinator with; with mutual TLS its own certificate too.

The certificate, ``node.crt``, is of the node key: a site has one key for all that it proves.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.deploy.consortium import Membership, ca_certificate
from client.deploy.keys import read_key
from common.errors import SettingsError

NODE_CERTIFICATE = "node.crt"


def tls_context(folder: Path, membership: Membership) -> ssl.SSLContext:
    """TLS that accepts the server of this kit alone, by CA and name.

    Raises:
        SettingsError: where ``ca.crt`` is missing or, with mutual TLS, the site's certificate or
            key cannot be used.
    """
    context = ssl.create_default_context(cafile=str(ca_certificate(folder)))
    if membership.mutual_tls:
        certificate = read_node_certificate(folder).public_bytes(Encoding.PEM)
        load_pair(context, certificate, read_key(folder), folder)
    return context


def read_node_certificate(folder: Path) -> x509.Certificate:
    """Read ``node.crt``.

    Raises:
        SettingsError: where it is missing, of another key than ``node.key``, or has ended.
    """
    path = folder / NODE_CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"{path}: expected this site's certificate, which the coordinator makes when it "
            f"registers node.pub, and sends back: {error.strerror}"
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path}: expected a PEM certificate: {error}") from error
    if certificate.public_key() != read_key(folder).public_key():
        raise SettingsError(
            f"{path}: is of another key than node.key; ask the coordinator for the one that "
            "belongs to node.pub"
        )
    end = certificate.not_valid_after_utc
    if datetime.now(UTC) >= end:
        raise SettingsError(
            f"{path}: ended on {end:%Y-%m-%d}; ask the coordinator for a new one "
            "('fedrounds provision renew')"
        )
    return certificate


def load_pair(
    context: ssl.SSLContext, certificate: bytes, key: ec.EllipticCurvePrivateKey, folder: Path
) -> None:
    """Give ``context`` a certificate and its key.

    Python's ssl takes a file alone, and OpenSSL does not read OpenSSH's format, so the key is
    written once more, with 0600, for a moment.
    """
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with NamedTemporaryFile(dir=folder, prefix=".pair") as file:
        file.write(certificate + private)
        file.flush()
        context.load_cert_chain(file.name)
