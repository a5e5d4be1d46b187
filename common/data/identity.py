"""Patient ids: which are none, and what is done with an image that has none.

Under patient-level privacy everything rests on the ids. Images of one person under no id would
count as several people, or those of several as one, so such an image trains only by a rule.

The one rule that is offered beside refusing is to leave those images out. It is sound: it looks at
each image alone, so nobody's presence changes what another contributes, and who has no id has no
part in what is released. Counting all of them as one patient is not offered. Adding or removing a
person would then change the images of a patient who stays: the clipped sum moves by up to 2C where
the noise is made for C (one shared id is the same mistake as any other false id).
"""

from __future__ import annotations

from common.config import MissingPatient
from common.data.manifest import Manifest
from common.errors import DataError

PLACEHOLDERS = frozenset(
    {
        "anon", "anonym", "anonymous", "anonymised", "anonymized", "blank", "de-identified",
        "deidentified", "dummy", "empty", "hidden", "masked", "missing", "n/a", "na", "nan",
        "nil", "no id", "noid", "none", "not available", "null", "patient", "patient id",
        "patientid", "redacted", "removed", "tbd", "undefined", "unk", "unknown", "unnamed",
        "withheld", "xxx", "xxxx", "xxxxx",
    }
)  # fmt: skip
"""Texts that stand where an id should, in lower case and without spaces around."""


def is_placeholder(patient: str) -> bool:
    """Whether a text is no patient's id: in the list, zeros alone, or without letter and digit."""
    text = patient.strip().casefold()
    return text in PLACEHOLDERS or not any(c.isalnum() and c != "0" for c in text)


def count_placeholders(manifest: Manifest) -> int:
    """How many images have no patient id."""
    return sum(map(is_placeholder, manifest.patients))


def identified(manifest: Manifest, missing: MissingPatient) -> Manifest:
    """The images that have a patient id.

    Args:
        manifest: a site's images, whose ids are patients' ids.
        missing: what is done with an image that has none: ``refuse`` them all, or ``exclude`` it.

    Raises:
        DataError: saying how many have none, and what to do; also where none is left.
    """
    rows = [row for row, patient in enumerate(manifest.patients) if not is_placeholder(patient)]
    lacking = len(manifest) - len(rows)
    if not lacking:
        return manifest
    if missing == "refuse":
        raise DataError(
            f"{lacking} of {len(manifest)} images have no patient id (none, or a placeholder such "
            "as ANON or 0): images of one person would count as several people's, or the other "
            "way round. Complete the ids, or set policy.missing_patient: exclude (in a simulation "
            "privacy.missing_patient=exclude) to leave those images out"
        )
    if not rows:
        raise DataError("no image has a patient id, so none is left: complete the ids")
    return manifest.take(rows)
