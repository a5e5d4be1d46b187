"""What the two kinds of ``consortium.yaml`` share: how one is read, and the server's address."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from common.errors import SettingsError
from common.schema import build, read_yaml

CONSORTIUM_FILE = "consortium.yaml"

T = TypeVar("T")


def read_consortium(cls: type[T], folder: Path, expected: str, foreign: str, got: str) -> T:
    """Read a folder's ``consortium.yaml`` as ``cls``.

    Args:
        cls: the dataclass of the whole file.
        folder: a site's folder, or the coordinator's.
        expected: what the folder should be, in words.
        foreign: a key that only the other side's file has.
        got: what the folder then is.

    Raises:
        SettingsError: where it is missing, no YAML, the other side's, or holds an unknown or wrong
            setting.
    """
    path = folder / CONSORTIUM_FILE
    values = read_yaml(path, expected)
    if isinstance(values, Mapping) and foreign in values:
        raise SettingsError(f"{path}: {got}; expected {expected}")
    return build(cls, values)


def address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """An IPv6 address in the brackets that a port needs (RFC 3986, section 3.2.2)."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
