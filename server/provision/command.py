"""``fedrounds provision``: make a consortium, and keep its sites and certificates."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.errors import SettingsError
from common.schema import suggest, to_plain
from server.provision.consortium import Consortium, utc_now
from server.provision.create import create
from server.provision.members import add, register, revoke
from server.provision.overview import Overview, overview
from server.provision.renew import renew
from server.provision.settings import AddSettings, ProvisionSettings, RenewSettings, parse_words

HELP = """\
usage: fedrounds provision sites=[A,B,…] host=HOST [KEY=VALUE …]
       fedrounds provision ACTION COORDINATOR …

Makes a consortium: a CA, the server's certificates, the coordinator's folder with the reverse
proxy's configuration, and one start-up kit a site. COORDINATOR is the coordinator's folder.

  sites=[A,B,…]          the sites' names
  host=HOST              DNS name or IP address that the sites connect to
  port=8443              the proxy's port, open to the sites
  superlink_port=8000    the SuperLink's port, on 127.0.0.1 alone
  days=365               life of the server's certificates; the CA's is ten years
  mutual_tls=false       true: the proxy also asks each site for a certificate, made by register
  output_dir=consortium  where coordinator/ and kits/ are written; must not be there yet
  name=consortium        printed, and in the certificates
  zip=true               pack each kit as SITE.zip too
  central_keys=false     true: make the sites' private keys here, instead of each at its site

  register COORDINATOR SITE FILE [--replace]
                         let a site in with the public key in FILE; --replace shuts its old key out
  revoke COORDINATOR SITE
                         shut a site out; its key can never come back
  add COORDINATOR SITE [output_dir=kits/] [zip=true] [central_keys=false]
                         a further site, and its kit
  renew COORDINATOR [days=365]
                         new certificates of the same CA; a site has to do something (replace its
                         node.crt) with mutual_tls alone
  show COORDINATOR [--json]
                         sites, key fingerprints, when certificates end, and warnings

exit codes: 0 done, 2 wrong words, settings or files; then nothing was written
"""

CENTRAL_WARNING = (
    "warning: the sites' private keys were made here and are in the kits: whoever reads a kit on "
    "its way can pass for its site. Send them over a channel you trust, delete them here "
    "afterwards, and prefer keys that each site makes itself"
)


def help_text() -> str:
    return HELP


def main(words: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    actions: dict[str, Callable[[list[str]], int]] = {
        "register": _register,
        "revoke": _revoke,
        "add": _add,
        "renew": _renew,
        "show": _show,
    }
    if not words:
        raise SettingsError("expected sites=[…] host=…, or an action; see --help")
    if "=" in words[0]:
        return _create(words)
    if words[0] not in actions:
        raise SettingsError(
            f"expected KEY=VALUE or one of {', '.join(actions)}, got '{words[0]}'"
            f"{suggest(words[0], actions)}"
        )
    return actions[words[0]](list(words[1:]))


def _create(words: Sequence[str]) -> int:
    settings = parse_words(ProvisionSettings, words)
    consortium = create(settings, utc_now())
    kits = consortium.folder.parent / "kits"
    print(f"{consortium.folder}: the coordinator's; holds private keys and stays on its machine")
    for site in consortium.sites:
        print(f"{kits / site}{'.zip' if settings.zip else ''}: start-up kit of {site}")
    print(f"sites connect to {consortium.address}; the next steps are in coordinator/README.md")
    if settings.central_keys:
        print(CENTRAL_WARNING, file=sys.stderr)
    return 0


def _register(words: list[str]) -> int:
    rest = [word for word in words if word != "--replace"]
    folder, site, file = _expect(rest, "register COORDINATOR SITE PUBLIC_KEY_FILE [--replace]", 3)
    found = register(Path(folder), site, Path(file), utc_now(), new_key=len(rest) != len(words))
    print(f"{site}: registered with {found}")
    print("compare it with what 'fedrounds client init' printed at the site, by telephone")
    consortium = Consortium.open(Path(folder))
    if consortium.mutual_tls:
        print(f"send the site {consortium.site_certificate(site)}, which is its node.crt")
    return 0


def _revoke(words: list[str]) -> int:
    folder, site = _expect(words, "revoke COORDINATOR SITE", 2)
    print(f"{site}: revoked; {revoke(Path(folder), site, utc_now())} can never come back")
    print("a server that runs turns it away within seconds")
    return 0


def _add(words: list[str]) -> int:
    folder, site = _expect(words[:2], "add COORDINATOR SITE [KEY=VALUE …]", 2)
    settings = parse_words(AddSettings, words[2:])
    kit = add(Path(folder), site, settings, utc_now())
    print(f"{kit}{'.zip' if settings.zip else ''}: start-up kit of {site}")
    if settings.central_keys:
        print(CENTRAL_WARNING, file=sys.stderr)
    return 0


def _renew(words: list[str]) -> int:
    (folder,) = _expect(words[:1], "renew COORDINATOR [days=365]", 1)
    settings = parse_words(RenewSettings, words[1:])
    consortium = renew(Path(folder), settings.days, utc_now())
    print(f"new certificates; the first of all ends on {consortium.certificate_expiry():%Y-%m-%d}")
    if consortium.mutual_tls:
        print(f"send each site its file of {consortium.folder / 'certificates'} as node.crt")
    print("a server that runs goes on with the old ones until it is started again")
    return 0


def _show(words: list[str]) -> int:
    rest = [word for word in words if word != "--json"]
    (folder,) = _expect(rest, "show COORDINATOR [--json]", 1)
    found = overview(Consortium.open(Path(folder)), utc_now())
    if len(rest) != len(words):
        print(json.dumps({"schema": 1, **to_plain(found)}, indent=1))
        return 0
    _print(found)
    return 0


def _print(found: Overview) -> None:
    sites = Table("site", "state", "key")
    for site in found.sites:
        sites.add_row(site.name, site.state, site.fingerprint or "")
    certificates = Table("certificate", "names", "ends", "days left")
    for c in found.certificates:
        certificates.add_row(c.file, ", ".join(c.names), c.ends[:10], str(c.days_left))
    console = Console()
    wide = console if console.is_terminal else Console(width=140)
    print(f"{found.name}: sites connect to {found.address}")
    wide.print(sites)
    wide.print(certificates)
    for warning in found.warnings:
        print(f"warning: {warning}")


def _expect(words: Sequence[str], usage: str, count: int) -> Sequence[str]:
    """Positional words, exactly ``count``."""
    options = [word for word in words if word.startswith("-")]
    if len(words) != count or options:
        raise SettingsError(
            f"expected 'provision {usage}', got '{' '.join(words) or 'nothing more'}'"
        )
    return words
