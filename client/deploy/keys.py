"""A site's node key, made at the site and never sent."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from common.checkpoint import write_bytes
from common.errors import SettingsError
from common.node_keys import NODE_KEY, NODE_PUBLIC_KEY, fingerprint, new_key_pair, public_line
from common.processes import write_secret


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
    private, public = new_key_pair()
    line = f"{public} {name}"
    write_secret(folder / NODE_KEY, private)
    write_bytes(folder / NODE_PUBLIC_KEY, f"{line}\n".encode())
    return line


def key_fingerprint(folder: Path) -> str:
    """The fingerprint of the key that :func:`read_key` reads."""
    return fingerprint(public_line(read_key(folder).public_key()))


def read_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """Read the private key as a SuperNode will.

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
    return key
