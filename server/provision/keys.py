"""The public keys that sites send, checked."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from common.errors import SettingsError
from common.node_keys import public_line

ALGORITHM = "ecdsa-sha2-nistp384"
MAX_BYTES = 4096
"""A line of this kind has about 230 bytes; whatever is much longer is something else."""


def read_public_key(path: Path) -> str:
    """Read and check a site's public key.

    Returns:
        ``ecdsa-sha2-nistp384 BASE64``, without the comment: that names a user and a machine.

    Raises:
        SettingsError: where the file cannot be read, holds a private key, or anything but one
            EC P-384 public key in OpenSSH's format.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: expected a public key: {error.strerror}") from error
    if b"PRIVATE KEY" in data:
        raise SettingsError(
            f"{path}: this is a PRIVATE key, which must never leave its site; nothing was "
            "registered. Delete this copy, let the site make a new pair with 'fedrounds client "
            "init SITE', and register its public half"
        )
    expected = f"{path}: expected one line '{ALGORITHM} …', as 'fedrounds client init SITE' prints"
    lines = [line for line in data.splitlines() if line.strip()]
    if len(data) > MAX_BYTES or len(lines) != 1:
        raise SettingsError(f"{expected}; got {_what(data)}")
    try:
        key = load_ssh_public_key(lines[0].strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{expected}; got {_what(data)}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise SettingsError(f"{expected}; got a key of another kind, {_what(data)}")
    return public_line(key)


def _what(data: bytes) -> str:
    """What a file seems to hold, in a few words and without its content."""
    if not data.strip():
        return "an empty file"
    if len(data) > MAX_BYTES:
        return f"more than {MAX_BYTES} bytes"
    if data.startswith(b"-----BEGIN"):
        return "PEM; 'ssh-keygen -i -m PKCS8 -f FILE' converts a public key"
    lines = len([line for line in data.splitlines() if line.strip()])
    word = data.split()[0][:40].decode("ascii", errors="replace")
    return f"{lines} line{'s' if lines > 1 else ''} that start{'' if lines > 1 else 's'} '{word}'"
