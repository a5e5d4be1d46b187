"""What a SuperNode's last words mean: whether starting it again could change anything.

Flower 1.41 says little, and some of it in ways of its own:

- code 2004 for an unknown key, and also for a node that vanished less than 60 s ago and comes back:
  the server takes it for connected still;
- nothing at all, but an end by SIGINT to itself, where the server answers 401: a bad signature, a
  node id that the server does not have any more, or a certificate that the proxy does not accept.
"""

from __future__ import annotations

GRACEFUL = "SuperNode terminated gracefully"


def still_taken_for_connected(words: str) -> bool:
    """Whether the server would not let the node in because it thinks that it never left."""
    return "[code: 2004]" in words


def refusal(words: str, address: str, fingerprint: str, *, connected: bool, late: bool) -> str:
    """Why the server does not serve this site, or why the site must not trust it; else ``""``.

    Args:
        words: what the SuperNode printed last.
        address: the server's.
        fingerprint: of this site's key.
        connected: whether this SuperNode had been connected.
        late: whether this site was connected so lately that the server may think it still is.
    """
    text = words.lower()
    if "certificate verify failed" in text:
        return (
            f"the server at {address} is not the one of this kit: its certificate does not hold "
            f"against ca.crt, or has another name ({_detail(words)})"
        )
    if "wrong_version_number" in text or "wrong version number" in text:
        return f"{address} does not speak TLS: it is no fedrounds server"
    if still_taken_for_connected(words) and not late:
        return (
            f"the server knows no site with this key ({fingerprint}): it is not registered yet, "
            "or was revoked"
        )
    if GRACEFUL in words and not connected:
        return (
            "the server does not accept this site's signature or certificate: the key was revoked, "
            "node.crt is not of this consortium or has ended, or this machine's clock is more than "
            "5 s ahead of the server's, or 305 s behind"
        )
    return ""


def _detail(words: str) -> str:
    """OpenSSL's reason, out of a longer text."""
    start = words.lower().find("certificate verify failed")
    return words[start : start + 160].split("(_ssl")[0].strip()
