"""Whom a site is connected with: ``consortium.yaml`` and ``ca.crt`` of its start-up kit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.consortium import address, read_consortium
from common.errors import SettingsError

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
    mutual_tls: bool = False
    """The server asks for a certificate of its CA: ``node.crt``, which the coordinator sent."""
    approve: Literal["auto", "ask"] = "auto"
    """``auto``: a run that the policy allows is approved; ``ask``: a person is asked first."""

    @staticmethod
    def open(folder: Path) -> Membership:  # opened, as a file is
        """Read ``consortium.yaml``.

        Raises:
            SettingsError: where it is missing, no YAML, or holds an unknown or wrong setting.
        """
        return read_consortium(
            Membership,
            folder,
            expected="a site's folder, with the files of its start-up kit",
            foreign="superlink_port",
            got="the coordinator's folder",
        )

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return address(self.host, self.port)


def ca_certificate(folder: Path) -> Path:
    """The certificate that the server's must be signed by.

    Raises:
        SettingsError: where it is missing.
    """
    path = folder / "ca.crt"
    if not path.is_file():
        raise SettingsError(f"{path}: expected the CA's certificate, from the start-up kit")
    return path
