"""Start-up kits: what becomes a site's folder, as a folder and as a zip."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import yaml

from common.node_keys import NODE_KEY, NODE_PUBLIC_KEY
from server.provision.consortium import Consortium
from server.provision.files import PRIVATE, make_folder, write_new
from server.provision.templates import render, unit

CENTRAL = (
    "\n**Your private key was made by the coordinator** and is in this kit: leave\n"
    "'fedrounds client init' out, and see that `node.key` can be read by you alone (mode 0600).\n"
)
CERTIFICATE = """
   What the coordinator sends back is your key's certificate: put it here as `node.crt`. It is no
   secret. It ends after a year; the coordinator sends the next, and the client is started again.
"""


def write_kit(
    folder: Path, consortium: Consortium, site: str, key_pair: tuple[bytes, str] | None = None
) -> None:
    """Write one site's kit into ``folder``, which must not be there yet.

    Args:
        folder: the kit's folder.
        consortium: the coordinator's folder, for the address and the CA's certificate.
        site: the site's name.
        key_pair: private file and public line, where the key was made centrally.
    """
    make_folder(folder)
    write_new(folder / "ca.crt", consortium.ca_certificate.read_bytes())
    facts = {
        "name": consortium.name,
        "host": consortium.host,
        "port": consortium.port,
        "site": site,
        "mutual_tls": consortium.mutual_tls,
    }
    dumped = yaml.safe_dump(facts, sort_keys=False).rstrip()
    write_new(folder / "consortium.yaml", render("kit.yaml", facts=dumped))
    quoted = yaml.safe_dump(site).splitlines()[0]  # a site may be called 007, or no
    write_new(folder / "site.yaml", render("site.yaml", site=quoted), PRIVATE)
    write_new(
        folder / "README.md",
        render(
            "site.md",
            name=consortium.name,
            site=site,
            address=consortium.address,
            central=CENTRAL if key_pair else "",
            certificate=CERTIFICATE if consortium.mutual_tls else "",
        ),
    )
    write_new(folder / "fedrounds-client.service", unit("client.service", site=site))
    if key_pair:
        private, public = key_pair
        write_new(folder / NODE_KEY, private, PRIVATE)
        write_new(folder / NODE_PUBLIC_KEY, f"{public} {site}\n")


def write_zip(path: Path, kit: Path, name: str) -> None:
    """Pack a kit under the folder ``name``; the file is its owner's alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(kit.iterdir()):
            entry = zipfile.ZipInfo.from_file(file, f"{name}/{file.name}")
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    write_new(path, buffer.getvalue(), PRIVATE)
