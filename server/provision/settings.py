"""What ``fedrounds provision`` can be told, and what names and addresses may be.

Names and hosts become file names, certificate names and words of nginx.conf, so what may stand
in them is fixed here, and checked again when a consortium's folder is opened.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_origin, get_type_hints

from common.config import SITE_NAME, SITE_NAME_RULE
from common.errors import SettingsError
from common.schema import build, suggest

CA_DAYS = 3650
CERTIFICATE_DAYS = 365
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
"""RFC 1123, section 2.1: labels of at most 63 letters, digits and hyphens."""

CENTRAL_AND_MUTUAL = "central_keys: with mutual_tls each site makes its key itself; leave it out"

T = TypeVar("T")


@dataclass(frozen=True)
class KitSettings:
    """How start-up kits are made."""

    zip: bool = True
    """Write ``SITE.zip`` beside each kit's folder."""
    central_keys: bool = False
    """Make the sites' private keys here, instead of each at its site."""


@dataclass(frozen=True, kw_only=True)
class ProvisionSettings(KitSettings):
    """The settings of ``fedrounds provision``."""

    sites: tuple[str, ...]
    host: str
    """DNS name or IP address that the sites connect to."""
    port: int = 8443
    superlink_port: int = 8000
    """The SuperLink's port on 127.0.0.1, which the proxy forwards to."""
    days: int = CERTIFICATE_DAYS
    """Life of the server's certificates; the CA's is ten years."""
    mutual_tls: bool = False
    """Have the proxy ask each site for a certificate, which registering its key makes."""
    output_dir: str = "consortium"
    name: str = "consortium"

    def problems(self) -> list[str]:
        """Everything that is wrong with them, a line each."""
        lines = [] if self.sites else ["sites: expected at least one, as sites=[a,b,c]"]
        lines += host_problems(self.host) + port_problems(self.port, self.superlink_port)
        lines += days_problems(self.days)
        if self.mutual_tls and self.central_keys:
            lines.append(CENTRAL_AND_MUTUAL)
        if not SITE_NAME.fullmatch(self.name):
            lines.append(f"name: expected {SITE_NAME_RULE}, got '{self.name}'")
        if not self.output_dir:
            lines.append("output_dir: expected a folder's name, got nothing")
        return lines + site_problems(self.sites)


@dataclass(frozen=True)
class AddSettings(KitSettings):
    """The settings of ``fedrounds provision add``."""

    output_dir: str | None = None
    """Where the kit is written; by default ``kits/`` beside the coordinator's folder."""


@dataclass(frozen=True)
class RenewSettings:
    """The settings of ``fedrounds provision renew``."""

    days: int = CERTIFICATE_DAYS


def parse_words(cls: type[T], words: Sequence[str]) -> T:
    """Build ``cls`` from ``KEY=VALUE`` words; a list is ``[a,b,c]``.

    Values are read by their field's type and never as YAML: a site may be called ``no`` or 007.

    Raises:
        SettingsError: with every unknown key, wrong type and repeated key together.
    """
    hints = get_type_hints(cls)
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            problems.append(
                f"expected KEY=VALUE, without spaces, got '{word}'{suggest(word, known)}"
            )
        elif key in values:
            problems.append(f"{key}: given twice")
        else:
            values[key] = _read(hints.get(key), text)
    try:
        result = build(cls, values)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    return result


def host_problems(host: str) -> list[str]:
    """What is wrong with a host: a DNS name or an address that can be connected to."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        numeric = host.rpartition(".")[2].isdigit()  # 10.0.0.300: no name ends so (RFC 1123)
        if HOST_NAME.fullmatch(host) and not numeric:
            return []
    else:
        if not (address.is_unspecified or address.is_multicast or "%" in host):
            return []
    return [
        "host: expected a DNS name or an IP address that the sites can connect to, without "
        f"scheme, port or path, got '{host}'"
    ]


def port_problems(port: int, superlink_port: int) -> list[str]:
    both = {"port": port, "superlink_port": superlink_port}
    lines = [f"{k}: expected 1 to 65535, got {v}" for k, v in both.items() if not 1 <= v <= 65535]
    if port == superlink_port:
        lines.append(
            f"port and superlink_port are both {port}: the proxy and the SuperLink need one each"
        )
    return lines


def days_problems(days: int) -> list[str]:
    return [] if 1 <= days <= CA_DAYS else [f"days: expected 1 to {CA_DAYS}, got {days}"]


def site_problems(sites: Iterable[str]) -> list[str]:
    """What is wrong with the sites' names; they must differ on a disk that ignores case too."""
    lines, seen = [], set[str]()
    for site in sites:
        if not SITE_NAME.fullmatch(site):
            lines.append(f"sites: expected names of {SITE_NAME_RULE}, got '{site}'")
        elif site.lower() in seen:
            lines.append(f"sites: '{site}' stands in the list twice (capitals do not count)")
        seen.add(site.lower())
    clashes = sorted(name for name in seen if f"{name}.zip" in seen)
    return lines + [f"sites: '{c}' and '{c}.zip' would have one file for both" for c in clashes]


def _read(hint: Any, text: str) -> Any:
    """The value that ``text`` has in a field of this type; what does not fit stays text."""
    if get_origin(hint) is tuple:
        inner = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text
        return [item.strip() for item in inner.split(",")] if inner.strip() else []
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if hint is int:
        try:
            return int(text)
        except ValueError:
            return text
    return text
