"""A site's node key: EC P-384 in OpenSSH's format, which is what Flower 1.41 reads.

The public line is ``ecdsa-sha2-nistp384 BASE64`` (RFC 5656, section 3.1); its fingerprint is the
unpadded base64 of the SHA-256 of the decoded blob, as ``ssh-keygen -lf`` prints it, so that
coordinator and site can compare it by telephone.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

NODE_KEY = "node.key"
NODE_PUBLIC_KEY = "node.pub"


def new_key_pair() -> tuple[bytes, str]:
    """Make a pair: the private key as an OpenSSH file's bytes, the public one as its line."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, public_line(key.public_key())


def public_line(key: ec.EllipticCurvePublicKey) -> str:
    """A public key in one line, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a public key's line."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
