"""Whom a site is connected with: ``consortium.yaml`` and ``ca.crt`` of its start-up kit."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from common.errors import SettingsError
from common.schema import build

UNUSABLE = "site.yaml:"
"""How the line begins by which the process of the tasks says that the settings cannot be used."""


@dataclass(frozen=True)
class Membership:
    """The whole of a site's ``consortium.yaml``; the coordinator wrote all but ``approve``."""

    name: str
    host: str
    port: int
    site: str
    """The name that the coordinator knows this site by, and ``site.yaml`` must give."""
    approve: Literal["auto", "ask"] = "auto"
    """``auto``: a run that the policy allows is approved; ``ask``: a person is asked first."""

    @staticmethod
    def open(folder: Path) -> Membership:  # opened, as a file is
        """Read ``consortium.yaml``.

        Raises:
            SettingsError: where it is missing, no YAML, or holds an unknown or wrong setting.
        """
        path = folder / "consortium.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                f"{path}: expected a site's folder, with the files of its start-up kit: "
                f"{error.strerror}"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: expected YAML: {error}") from error
        if isinstance(values, dict) and "superlink_port" in values:
            raise SettingsError(f"{path}: the coordinator's folder; expected a site's")
        return build(Membership, values)

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        try:
            six = ipaddress.ip_address(self.host).version == 6
        except ValueError:
            six = False
        return f"[{self.host}]:{self.port}" if six else f"{self.host}:{self.port}"


def ca_certificate(folder: Path) -> Path:
    """The certificate that the server's must be signed by.

    Raises:
        SettingsError: where it is missing.
    """
    path = folder / "ca.crt"
    if not path.is_file():
        raise SettingsError(f"{path}: expected the CA's certificate, from the start-up kit")
    return path
