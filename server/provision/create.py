"""Making a consortium: its CA, its certificates, the coordinator's folder and the sites' kits."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import yaml

from common.errors import SettingsError
from common.node_keys import fingerprint, new_key_pair
from server.provision.audit import AUDIT, write_audit
from server.provision.certificates import (
    SUPERLINK_NAMES,
    certificate_pem,
    new_authority,
    new_key,
    new_server_certificate,
    private_pem,
    server_names,
)
from server.provision.consortium import Consortium
from server.provision.files import PRIVATE, make_folder, staged, write_new
from server.provision.kit import write_kit, write_zip
from server.provision.mutual import write_admitted
from server.provision.proxy import nginx_config
from server.provision.settings import ProvisionSettings
from server.provision.templates import render, unit

CERTIFICATE = """
   Send the site back what this writes, `certificates/SITE.crt`; it is no secret.
"""


def create(settings: ProvisionSettings, now: datetime) -> Consortium:
    """Write ``output_dir`` whole, or not at all.

    Args:
        settings: what to make.
        now: UTC; the certificates begin five minutes before.

    Raises:
        SettingsError: with everything that is wrong with the settings, or where ``output_dir``
            exists.
    """
    problems = settings.problems()
    if problems:
        raise SettingsError(problems)
    output = Path(settings.output_dir)
    with staged(output) as folder:
        coordinator = make_folder(folder / "coordinator")
        for name in ("keys", "revoked", "proxy"):
            make_folder(coordinator / name)
        _write_certificates(coordinator, settings, now)
        _write_facts(coordinator, settings, now)
        consortium = Consortium.open(coordinator)
        _write_texts(consortium)
        write_new(coordinator / AUDIT, b"", PRIVATE)
        write_audit(coordinator, "created", name=settings.name, host=settings.host)
        kits = make_folder(folder / "kits")
        for site in settings.sites:
            public_key = write_site(consortium, site, kits, settings.zip, settings.central_keys)
            note_site(consortium, site, public_key)
        if consortium.mutual_tls:
            write_admitted(consortium)
    return Consortium.open(output / "coordinator")


def write_site(
    consortium: Consortium, site: str, kits: Path, packed: bool, central_keys: bool
) -> str | None:
    """Write a site's kit into ``kits``.

    Returns:
        The public key's line, where the key was made here.
    """
    pair = new_key_pair() if central_keys else None
    write_kit(kits / site, consortium, site, pair)
    if packed:
        write_zip(kits / f"{site}.zip", kits / site, site)
    return pair[1] if pair else None


def note_site(consortium: Consortium, site: str, public_key: str | None) -> None:
    """Write down that a site was added, and register the key that was made for it."""
    write_audit(consortium.folder, "added", site=site)
    if public_key is not None:
        write_new(consortium.key_file(site), f"{public_key} {site}\n")
        write_audit(
            consortium.folder,
            "registered",
            site=site,
            fingerprint=fingerprint(public_key),
            made_centrally=True,
        )


def _write_certificates(folder: Path, settings: ProvisionSettings, now: datetime) -> None:
    authority_key = new_key()
    authority = new_authority(settings.name, authority_key, now)
    write_new(folder / "ca.key", private_pem(authority_key), PRIVATE)
    write_new(folder / "ca.crt", certificate_pem(authority))
    for stem, names in (("server", server_names(settings.host)), ("superlink", SUPERLINK_NAMES)):
        key = new_key()
        certificate = new_server_certificate(
            authority, authority_key, key, names, now, settings.days
        )
        write_new(folder / f"{stem}.key", private_pem(key), PRIVATE)
        write_new(folder / f"{stem}.crt", certificate_pem(certificate))


def _write_facts(folder: Path, settings: ProvisionSettings, now: datetime) -> None:
    facts = {
        "name": settings.name,
        "host": settings.host,
        "port": settings.port,
        "superlink_port": settings.superlink_port,
        "created": now.isoformat(timespec="seconds"),
        "mutual_tls": settings.mutual_tls,
        "sites": {site: {"added": now.isoformat(timespec="seconds")} for site in settings.sites},
    }
    write_new(folder / "consortium.yaml", yaml.safe_dump(facts, sort_keys=False))


def _write_texts(consortium: Consortium) -> None:
    folder = consortium.folder
    more = "and `register` alone" if consortium.mutual_tls else "alone"
    write_new(consortium.nginx_conf, nginx_config(consortium))
    write_new(folder / "fedrounds-server.service", unit("server.service", name=consortium.name))
    write_new(
        folder / "README.md",
        render(
            "coordinator.md",
            name=consortium.name,
            address=consortium.address,
            port=consortium.port,
            superlink_port=consortium.superlink_port,
            authority=f"`ca.key` is needed by `provision renew` {more}",
            certificate=CERTIFICATE if consortium.mutual_tls else "",
        ),
    )
