"""The report on a folder of images: exact counts, for the eyes of its own site alone.

    1. list: what the site's settings name (``listing.py``)
    2. inspect: each file, by the worker processes (``common/data/inspection.py``)
    3. count: patients, labels, devices, encodings, tags that identify, equal images
    4. judge: what training refuses, and what to do (``judgement.py``)

No value that identifies a person stands in it: patients are counted or given by pseudonym, and tags
are told by name. Names of files are told, since the site has to find them.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from client.gate.judgement import judge
from client.gate.listing import Listing, list_images
from client.pseudonyms import Pseudonyms
from client.site import Site
from common.config import TaskSettings
from common.data.duplicates import Duplicates, Group
from common.data.identity import count_placeholders, is_placeholder
from common.data.inspection import Inspection, inspect_many
from common.data.manifest import Manifest
from common.data.split import PARTS

SCHEMA = 1
PRIVATE_NOTE = (
    "These counts are exact: no ε covers them. They are for the site's own eyes, on its terminal "
    "and in its folder."
)
UNSEEN = (
    "text or faces in the pixels of a file that does not say so (BurnedInAnnotation is a flag)",
    "whether a tag that is there holds a person's value or a dummy",
    "whether an id is right: one person under two ids counts as two",
    "what identifies a person in PNG, JPEG, BMP and TIFF metadata, in file names and in tables",
    "images that are nearly equal",
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """A report and what it was made from, which stays in memory.

    Attributes:
        report: plain values, as ``--json`` prints them.
        listing: the images.
        readable: the rows that can be read.
    """

    report: Mapping[str, Any]
    listing: Listing
    readable: tuple[int, ...]


def check_images(
    site: Site,
    task: TaskSettings,
    pseudonyms: Pseudonyms,
    progress: Progress = lambda _done, _of: None,
    listing: Listing | None = None,
) -> Checked:
    """Look at all of a site's images.

    Args:
        site: the site, or a folder of images in its place.
        task: the public half, as far as it is known.
        pseudonyms: for patients that have to be told apart.
        progress: called with the number of files inspected, and to inspect.
        listing: what there is, where no settings say it.

    Raises:
        DataError: where there is no image at all.
    """
    started = time.monotonic()
    if listing is None:
        listing = list_images(site, task)  # 1
    files = [listing.manifest.root / file for file in listing.manifest.files]
    found = inspect_many(files, site.rendering, progress)  # 2
    told = _with_header_ids(listing, found)
    manifest = told.manifest
    parts = site.parts_of(manifest)  # 3
    duplicates = Duplicates.of([one.digest.encode() or None for one in found], manifest, parts)
    report = {
        "schema": SCHEMA,
        "site": site.name,
        "note": PRIVATE_NOTE,
        **_files(told, found),
        **_people(told, site),
        **_labels(told, parts),
        "metadata_missing": {
            column: sum(not text.strip() for text in texts)
            for column, texts in manifest.metadata.items()
        },
        **_headers(found),
        "duplicates": _duplicates(duplicates, manifest, parts, pseudonyms, told.has_patients),
        "not_seen": list(UNSEEN),
    }
    report |= judge(report, told, site.settings.policy, task.classes or ())  # 4
    report["seconds"] = round(time.monotonic() - started, 2)
    readable = tuple(row for row, one in enumerate(found) if not one.refused)
    return Checked(json.loads(json.dumps(report)), listing, readable)


def _with_header_ids(listing: Listing, found: Sequence[Inspection]) -> Listing:
    """Where no settings say who is who, DICOM headers do."""
    if listing.has_patients or listing.manifest.classes or not any(one.patient for one in found):
        return listing
    named = zip(found, listing.manifest.files, strict=True)
    patients = tuple(one.patient if one.kind == "DICOM" else file for one, file in named)
    manifest = replace(listing.manifest, patients=patients)
    return replace(listing, manifest=manifest, has_patients=True)


def _files(listing: Listing, found: Sequence[Inspection]) -> dict[str, Any]:
    manifest = listing.manifest
    refused = [
        {"file": file, "reason": one.refused}
        for file, one in zip(manifest.files, found, strict=True)
        if one.refused
    ]
    read = len(found) - len(refused)
    for one in listing.refused:
        file = one.path.relative_to(manifest.root).as_posix()
        refused.append({"file": file, "reason": one.reason})
    return {
        "files": {"found": read + len(refused), "read": read},
        "refused": refused,
        "kinds": _counts(one.kind for one in found if one.kind),
        "sizes": _counts(" × ".join(map(str, one.size)) for one in found if one.size),
        "photometric_interpretations": _counts(one.colour for one in found if one.colour),
        "transfer_syntaxes": _counts(one.syntax for one in found if one.syntax),
        "frames": _counts(str(one.frames) for one in found if one.kind == "DICOM"),
    }


def _people(listing: Listing, site: Site) -> dict[str, Any]:
    manifest = listing.manifest
    if not listing.has_patients:
        return {"unit": "image", "patients": None}
    each = Counter(patient for patient in manifest.patients if not is_placeholder(patient))
    images = sorted(Counter(each.values()).items())
    return {
        "unit": site.settings.data.unit_name,
        "patients": {
            "count": len(each),
            "images_a_patient": {str(number): patients for number, patients in images},
            "images_without_id": count_placeholders(manifest),
        },
    }


def _labels(listing: Listing, parts: Sequence[str]) -> dict[str, Any]:
    """Images by part and class, and patients by part."""
    manifest, where = listing.manifest, np.array(parts, dtype=object)
    positive = manifest.labels == 1
    return {
        "parts": {
            part: {
                "images": int((where == part).sum()),
                "units": len({manifest.patients[row] for row in np.flatnonzero(where == part)}),
            }
            for part in PARTS
        },
        "labels": {
            name: {part: int(positive[where == part, k].sum()) for part in PARTS}
            for k, name in enumerate(manifest.classes)
        },
        "labels_unknown": {
            name: int(np.isnan(manifest.labels[:, k]).sum())
            for k, name in enumerate(manifest.classes)
        },
        "labels_missing": listing.labels_missing,
    }


def _headers(found: Sequence[Inspection]) -> dict[str, Any]:
    dicom = [one for one in found if one.kind == "DICOM"]
    devices: dict[tuple[str, str], list[Inspection]] = {}
    for one in dicom:
        devices.setdefault((one.manufacturer, one.model), []).append(one)
    return {
        "devices": [
            {
                "manufacturer": manufacturer,
                "model": model,
                "images": len(own),
                "stations": len({one.station for one in own if one.station}),
            }
            for (manufacturer, model), own in sorted(devices.items())
        ],
        "identifying_tags": _counts(tag for one in dicom for tag in one.identifying),
        "patient_identity_removed": sum(one.removed == "YES" for one in dicom),
        "burned_in_annotation": _counts(one.burned_in or "not said" for one in dicom),
    }


def _duplicates(
    found: Duplicates,
    manifest: Manifest,
    parts: Sequence[str],
    pseudonyms: Pseudonyms,
    has_patients: bool,
) -> dict[str, list[list[dict[str, Any]]]]:
    def tell(row: int) -> dict[str, Any]:
        labels = [name for k, name in enumerate(manifest.classes) if manifest.labels[row, k] == 1]
        patient = {"patient": pseudonyms(manifest.patients[row])} if has_patients else {}
        return {"file": manifest.files[row], "part": parts[row], "labels": labels, **patient}

    def tell_all(groups: Sequence[Group]) -> list[list[dict[str, Any]]]:
        return [[tell(row) for row in group] for group in groups]

    return {
        "within_patient": tell_all(found.within),
        "across_patients": tell_all(found.across),
        "across_parts": tell_all(found.parts),
        "label_conflicts": tell_all(found.conflicts),
    }


def _counts(texts: Iterable[str]) -> dict[str, int]:
    """How often each stands there, the most frequent first."""
    return dict(sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0])))
