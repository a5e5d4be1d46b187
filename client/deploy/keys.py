"""A site's node key: EC P-384, made at the site, never sent.

OpenSSH's format, since that is what Flower 1.41's SuperNode and SuperLink read. The public line is
``ecdsa-sha2-nistp384 BASE64 SITE`` (RFC 5656, section 3.1); its fingerprint is what ``ssh-keygen
-lf`` prints, so that coordinator and site can compare it by telephone.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from common.checkpoint import write_bytes
from common.errors import SettingsError
from common.processes import write_secret

NODE_KEY = "node.key"
NODE_PUBLIC_KEY = "node.pub"


def make_key(folder: Path, name: str) -> str:
    """Make ``node.key`` (0600) and ``node.pub``; returns the public line.

    Raises:
        SettingsError: where either is there already.
    """
    there = [p for p in (folder / NODE_KEY, folder / NODE_PUBLIC_KEY) if p.exists()]
    if there:
        raise SettingsError(
            f"{there[0]}: is there already, and was left as it is. Its public half is in "
            f"{folder / NODE_PUBLIC_KEY}; to have a new key, move both away and let the "
            "coordinator register the new one"
        )
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    line = f"{_public_line(key)} {name}"
    write_secret(folder / NODE_KEY, private)
    write_bytes(folder / NODE_PUBLIC_KEY, f"{line}\n".encode())
    return line


def check_key(folder: Path) -> str:
    """Read the private key as a SuperNode will; returns the fingerprint of its public half.

    Raises:
        SettingsError: where it is missing, unreadable, of another kind, or open to others.
    """
    path = folder / NODE_KEY
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except OSError as error:
        raise SettingsError(
            f"{path}: expected this site's key; make it with 'fedrounds client init {folder}'"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: expected a private key in OpenSSH's format") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise SettingsError(f"{path}: expected an EC P-384 key")
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path}: others can read it; 'chmod 600 {path}'")
    return fingerprint(_public_line(key))


def fingerprint(line: str) -> str:
    """``SHA256:…`` of a public key's line."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _public_line(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
