"""Patient ids as they may be written down: keyed hashes, under a key that stays at the site.

An id that is hashed without a key is found by trying all ids. This key has no other use: the split
has its own (``data.split_key``, on the id itself), which a simulation or a sister site may share.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path

from common.errors import SettingsError
from common.processes import write_secret

KEY_FILE = "pseudonym.key"
DIGITS = 12
"""Of the pseudonym: among a million patients two share one with a chance of 0.2%."""


class Pseudonyms:
    """Turns ids into pseudonyms, the same for the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @staticmethod
    def of_site(folder: Path) -> Pseudonyms:
        """With the site's own key, made where there is none yet; its owner alone can read it.

        Raises:
            SettingsError: where the file holds no key.
        """
        path = folder / KEY_FILE
        if not path.exists():
            with suppress(FileExistsError):  # another process was first
                write_secret(path, os.urandom(32).hex().encode())
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii"))
        except ValueError:
            key = b""
        if len(key) != 32:
            raise SettingsError(
                f"{path}: expected 64 hexadecimal digits. Put the file back, or delete it: a new "
                "one is made, and pseudonyms written so far match no new ones"
            )
        return Pseudonyms(key)

    @staticmethod
    def passing() -> Pseudonyms:
        """With a key that nobody keeps, where there is no site's folder."""
        return Pseudonyms(os.urandom(32))

    def __call__(self, patient: str) -> str:
        """The pseudonym of an id: HMAC-SHA256 (RFC 2104), its first 48 bits in hexadecimal."""
        return hmac.new(self._key, patient.encode(), hashlib.sha256).hexdigest()[:DIGITS]
