"""The coordinator's folder of a consortium, opened.

.. code-block:: text

    coordinator/
      consortium.yaml               name, host, ports, sites
      ca.key  ca.crt                the CA; ca.key is needed for renewals alone: keep it elsewhere
      server.key  server.crt        what the proxy shows the network; its name is ``host``
      superlink.key  superlink.crt  the SuperLink's, on loopback; its names are localhost, 127.0.0.1
      keys/SITE.pub                 registered public keys
      certificates/SITE.crt         with mutual TLS: what each site shows the proxy (``mutual.py``)
      admitted.map                  with mutual TLS: whose certificate the proxy accepts
      revoked/SITE-TIME.pub         keys that may never come back
      nginx.conf  proxy/            the reverse proxy, its logs and its process id
      audit.jsonl                   who was registered, added, renewed, revoked

Two certificates, because the two listeners have two names: sites check ``host``, while the proxy
and the coordinator's own commands reach the SuperLink as localhost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from common.consortium import CONSORTIUM_FILE, address, read_consortium
from common.errors import SettingsError
from common.node_keys import fingerprint
from common.processes import only_one
from server.provision.keys import read_public_key
from server.provision.settings import host_problems, port_problems, site_problems


@dataclass(frozen=True)
class Member:
    """What is written down about a site; its key is a file of its own."""

    added: str
    """UTC time, ISO 8601."""


@dataclass(frozen=True)
class ConsortiumFile:
    """The whole of ``consortium.yaml``."""

    name: str
    host: str
    port: int
    superlink_port: int
    created: str
    sites: Mapping[str, Member]
    mutual_tls: bool = False


@dataclass(frozen=True)
class Consortium:
    """The coordinator's folder; paths are under it, wherever it was moved."""

    folder: Path
    name: str
    host: str
    """The name or address that sites connect to, and that the server's certificate carries."""
    port: int
    """The proxy's port, open to the network."""
    superlink_port: int
    """The SuperLink's port, on 127.0.0.1 alone."""
    created: str
    sites: tuple[str, ...]
    mutual_tls: bool
    """The proxy asks each site for a certificate of the CA."""

    @staticmethod
    def open(folder: Path) -> Consortium:  # opened, as a file is
        """Read ``consortium.yaml``.

        Raises:
            SettingsError: where it is missing, no YAML, or holds an unknown or wrong setting.
        """
        file = read_consortium(
            ConsortiumFile,
            folder,
            expected="the coordinator's folder, as 'fedrounds provision' makes it",
            foreign="site",
            got="a site's start-up kit",
        )
        problems = host_problems(file.host) + port_problems(file.port, file.superlink_port)
        problems += site_problems(file.sites)
        if problems:
            path = folder / CONSORTIUM_FILE
            raise SettingsError([f"{path}: {problem}" for problem in problems])
        return Consortium(
            folder=folder.resolve(),
            name=file.name,
            host=file.host,
            port=file.port,
            superlink_port=file.superlink_port,
            created=file.created,
            sites=tuple(file.sites),
            mutual_tls=file.mutual_tls,
        )

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return address(self.host, self.port)

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """The proxy's, for ``host``."""
        return self.folder / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "server.key"

    @property
    def superlink_certificate(self) -> Path:
        """The SuperLink's, for localhost and 127.0.0.1."""
        return self.folder / "superlink.crt"

    @property
    def superlink_key(self) -> Path:
        return self.folder / "superlink.key"

    @property
    def nginx_conf(self) -> Path:
        return self.folder / "nginx.conf"

    @property
    def proxy_log(self) -> Path:
        """A JSON line for each call, but for polls that went well."""
        return self.folder / "proxy" / "access.jsonl"

    def nginx_command(self, executable: str = "nginx") -> list[str]:
        """The words that start the proxy in the foreground; its paths are relative to ``-p``."""
        return [executable, "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "stderr"]

    def registered_keys(self) -> Mapping[str, Path]:
        """The key file of each site that may connect, by site.

        A key that was revoked is never among them, whatever lies in ``keys/``.

        Raises:
            SettingsError: where a key's file is damaged.
        """
        revoked = {fingerprint(read_public_key(path)) for path in self.revoked_files()}
        found: dict[str, Path] = {}
        for site in self.sites:
            path = self.key_file(site)
            if path.exists() and fingerprint(read_public_key(path)) not in revoked:
                found[site] = path
        return found

    def key_file(self, site: str) -> Path:
        return self.folder / "keys" / f"{site}.pub"

    def site_certificate(self, site: str) -> Path:
        return self.folder / "certificates" / f"{site}.crt"

    @property
    def admitted(self) -> Path:
        return self.folder / "admitted.map"

    def revoked_files(self) -> list[Path]:
        return sorted((self.folder / "revoked").glob("*.pub"))

    def certificate_expiry(self) -> datetime:
        """When the first of the CA's, the proxy's and the SuperLink's certificates ends, in UTC.

        Raises:
            SettingsError: where one cannot be read.
        """
        paths = (self.ca_certificate, self.server_certificate, self.superlink_certificate)
        return min(read_certificate(path).not_valid_after_utc for path in paths)


@contextmanager
def only_command(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two commands do not change it at once.

    Raises:
        SettingsError: where it is no coordinator's folder, or another command holds the lock.
    """
    home = Consortium.open(folder).folder
    with only_one(home / "provision.lock", "another 'fedrounds provision'"):
        yield


def read_certificate(path: Path) -> x509.Certificate:
    """Read one PEM certificate (RFC 7468, section 5).

    Raises:
        SettingsError: where the file is missing or holds anything else.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: expected a certificate: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: expected a PEM certificate: {error}") from error


def utc_now() -> datetime:
    return datetime.now(UTC)
