"""The sites of a consortium: adding one, registering its key, revoking it.

A site is in when a key of its lies in ``keys/`` and that key was never revoked. So a crash between
two steps of a replacement leaves a site out, never an old key in.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from common.checkpoint import write_bytes
from common.consortium import CONSORTIUM_FILE
from common.errors import SettingsError
from common.node_keys import fingerprint
from common.schema import suggest
from server.provision.audit import write_audit
from server.provision.consortium import Consortium, only_command
from server.provision.create import note_site, write_site
from server.provision.files import refuse_existing, staged, write_new
from server.provision.keys import read_public_key
from server.provision.mutual import certify, write_admitted
from server.provision.settings import (
    CENTRAL_AND_MUTUAL,
    CERTIFICATE_DAYS,
    AddSettings,
    site_problems,
)


def register(folder: Path, site: str, key_file: Path, now: datetime, *, new_key: bool) -> str:
    """Let the holder of a key in as ``site``.

    Args:
        folder: the coordinator's folder.
        site: a site of the consortium.
        key_file: its public key, as it came from the site.
        now: UTC, for the name of a key that is replaced.
        new_key: the key may take the place of one that is registered or was revoked.

    Returns:
        The key's fingerprint, to compare with the site.

    Raises:
        SettingsError: on an unknown site, a file that is no public key, a key that another site
            has or that was revoked, or a second key for the site without ``new_key``; with mutual
            TLS, where the CA's key is not here.
    """
    line = read_public_key(key_file)
    digest = fingerprint(line)
    with only_command(folder):
        consortium = Consortium.open(folder)
        _expect_site(consortium, site)
        current = consortium.registered_keys()
        held = {fingerprint(read_public_key(path)): name for name, path in current.items()}
        if held.get(digest) == site:
            _admit(consortium)  # a crash may have come between
            return digest
        _refuse_other_uses(consortium, site, digest, held)
        revoked = [p for p in consortium.revoked_files() if revoked_site(p) == site]
        if (site in current or revoked) and not new_key:
            state = "has another key already" if site in current else "was revoked"
            raise SettingsError(
                f"{site} {state}; to let it in with this key, {digest}, add --replace (a key that "
                "is replaced can never come back)"
            )
        if consortium.mutual_tls:
            certify(consortium, site, line, now, CERTIFICATE_DAYS)
        if site in current:
            old = read_public_key(current[site])
            write_new(_revoked_file(consortium, site, now), f"{old} {site}\n")
            write_audit(consortium.folder, "replaced", site=site, fingerprint=fingerprint(old))
        write_bytes(consortium.key_file(site), f"{line} {site}\n".encode())
        write_audit(consortium.folder, "registered", site=site, fingerprint=digest)
        _admit(consortium)
    return digest


def revoke(folder: Path, site: str, now: datetime) -> str:
    """Shut a site out: its key can never be registered again.

    Returns:
        The fingerprint of the key.

    Raises:
        SettingsError: on an unknown site, or one that has no key.
    """
    with only_command(folder):
        consortium = Consortium.open(folder)
        _expect_site(consortium, site)
        path = consortium.registered_keys().get(site)
        if path is None:
            raise SettingsError(f"{site}: has no registered key, so there is nothing to revoke")
        digest = fingerprint(read_public_key(path))
        path.rename(_revoked_file(consortium, site, now))
        consortium.site_certificate(site).unlink(missing_ok=True)
        write_audit(consortium.folder, "revoked", site=site, fingerprint=digest)
        _admit(consortium)
    return digest


def add(folder: Path, site: str, settings: AddSettings, now: datetime) -> Path:
    """Add a site to the consortium, and write its kit.

    Returns:
        The kit's folder.

    Raises:
        SettingsError: where the name cannot be used, or the kit exists.
    """
    with only_command(folder):
        consortium = Consortium.open(folder)
        problems = site_problems((*consortium.sites, site))
        if settings.central_keys and consortium.mutual_tls:
            problems.append(CENTRAL_AND_MUTUAL)
        if problems:
            raise SettingsError(problems)
        kits = Path(settings.output_dir or consortium.folder.parent / "kits")
        names = [site, f"{site}.zip"] if settings.zip else [site]
        for name in names:
            refuse_existing(kits / name)
        with staged(kits / f".{site}.new") as stage:
            public_key = write_site(consortium, site, stage, settings.zip, settings.central_keys)
        _move_and_admit(consortium, site, kits, names, now)
        note_site(consortium, site, public_key)
    return kits / site


def revoked_site(path: Path) -> str:
    """The site that a file under ``revoked/`` is of: ``SITE-TIME.pub``."""
    return path.stem.rpartition("-")[0]


def _move_and_admit(
    consortium: Consortium, site: str, kits: Path, names: Sequence[str], now: datetime
) -> None:
    """Move a finished kit to its place, then name its site in ``consortium.yaml``."""
    stage = kits / f".{site}.new"
    moved: list[Path] = []
    try:
        for name in names:
            moved.append((stage / name).rename(kits / name))
        path = consortium.folder / CONSORTIUM_FILE
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        facts["sites"][site] = {"added": now.isoformat(timespec="seconds")}
        write_bytes(path, yaml.safe_dump(facts, sort_keys=False).encode())
    except BaseException:
        for target in moved:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _admit(consortium: Consortium) -> None:
    """Tell the proxy whose certificates it accepts now."""
    if consortium.mutual_tls:
        write_admitted(consortium)


def _expect_site(consortium: Consortium, site: str) -> None:
    if site not in consortium.sites:
        raise SettingsError(f"unknown site '{site}'{suggest(site, consortium.sites)}")


def _refuse_other_uses(
    consortium: Consortium, site: str, digest: str, held: Mapping[str, str]
) -> None:
    """Refuse a key that another site has, or that was ever revoked."""
    if digest in held:
        raise SettingsError(
            f"{digest} is the key of {held[digest]} already: each site makes its own with "
            "'fedrounds client init SITE'"
        )
    for path in consortium.revoked_files():
        if fingerprint(read_public_key(path)) == digest:
            raise SettingsError(
                f"{digest} was revoked ({path.name}) and can never come back: {site} makes a new "
                "key with 'fedrounds client init SITE'"
            )


def _revoked_file(consortium: Consortium, site: str, now: datetime) -> Path:
    return consortium.folder / "revoked" / f"{site}-{now:%Y%m%dT%H%M%S.%fZ}.pub"
