"""The report and the contact sheet as files in the site's ``pages/``, which only the site sees.

The report is kept with a fingerprint of the settings and files that it is about, so that whoever
asks again (``fedrounds client SITE --check``) need not read every image again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from client.cache import row_keys
from client.gate.listing import Listing, list_images
from client.gate.report import SCHEMA, Checked, Progress, check_images
from client.gate.sheet import write_sheet
from client.pseudonyms import Pseudonyms
from client.site import Site
from common.checkpoint import write_private
from common.config import TaskSettings
from common.schema import to_plain

REPORT, SHEET = "data.json", "contact-sheet.png"


def task_of(site: Site) -> TaskSettings:
    """What a site knows of the shared task: its public classes, where the policy has them."""
    return TaskSettings(classes=site.settings.policy.classes or None)


def check_site(site: Site, progress: Progress = lambda _done, _of: None) -> Mapping[str, Any]:
    """The report of a site's images; from its ``pages/`` where nothing has changed since.

    Raises:
        DataError: where there is no image at all.
    """
    listing = list_images(site, task_of(site))
    path = site.folder / "pages" / REPORT
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["fingerprint"] == fingerprint(site, listing):
            return dict(kept["report"])
    pseudonyms = Pseudonyms.of_site(site.folder)
    checked = check_images(site, task_of(site), pseudonyms, progress, listing)
    write_pages(site.folder / "pages", site, checked)
    return checked.report


def write_pages(folder: Path, site: Site, checked: Checked) -> list[Path]:
    """Write report and contact sheet, which their owner alone can read; returns their paths."""
    written = [folder / REPORT]
    kept = {"fingerprint": fingerprint(site, checked.listing), "report": checked.report}
    write_private(written[0], (json.dumps(kept, indent=1) + "\n").encode())
    if checked.readable:
        written.append(folder / SHEET)
        write_sheet(written[1], checked.listing.manifest, checked.readable, site.rendering)
    return written


def fingerprint(site: Site, listing: Listing) -> str:
    """Of everything that a report follows from: settings, files, ids, labels, the report's form."""
    manifest = listing.manifest
    facts = SCHEMA, to_plain(site.settings), manifest.patients, manifest.metadata, listing.problems
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(manifest.labels.tobytes())
    for key in row_keys(manifest, TaskSettings(), site.rendering):
        digest.update(key)
    return digest.hexdigest()
