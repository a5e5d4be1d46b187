"""Whether training could start on what was found, and what to do where it could not.

The rules are those that training itself keeps (``client/site_images.py``, ``client/cohort.py``,
``common/data/identity.py``, the readers): this says beforehand, and all together, what they would
refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from client.gate.listing import Listing
from client.policy import Policy


def judge(
    report: Mapping[str, Any], listing: Listing, policy: Policy, classes: Sequence[str]
) -> dict[str, Any]:
    """What stops training (``problems``) and what is odd and stops nothing (``notices``).

    Args:
        report: the counts (``report.py``).
        listing: what they are of.
        policy: the site's.
        classes: the public list, as far as it is known; the policy's own comes first.
    """
    public = policy.classes or tuple(classes)
    problems = [
        *listing.problems,
        *_nothing_to_learn(report, public),
        *_patients(report, listing, policy),
        *_conflicts(report, policy),
    ]
    return {
        "trains": not problems,
        "problems": problems,
        "notices": [
            *_left_out(report, listing),
            *_labels(report, public),
            *_headers(report, listing),
        ],
    }


def _nothing_to_learn(report: Mapping[str, Any], public: Sequence[str]) -> list[str]:
    if not report["files"]["read"]:
        return ["no image can be read: 'refused' says why for each"]
    if not report["labels"]:
        return [
            "no labels are known: describe the folder in a site.yaml ('--init' writes a first "
            "one), or say data=… and data.label_column=…"
        ]
    lines = []
    known = [name for name in report["labels"] if not public or name in public]
    if public and not known:
        lines.append(
            f"no label is one of the public classes ({', '.join(public)}): complete data.label_map"
        )
    elif len(report["labels"]) < 2 and len(public) < 2:
        lines.append(f"all images have the label {known}: a classifier learns from two at least")
    if not report["parts"]["train"]["images"]:
        lines.append("nobody is in the training part: more data, or another data.test_fraction")
    return lines


def _patients(report: Mapping[str, Any], listing: Listing, policy: Policy) -> list[str]:
    patients = report["patients"]
    lacking = patients["images_without_id"] if patients else 0
    if not lacking:
        return []
    if policy.missing_patient == "refuse":
        return [
            f"{lacking} images have no patient id (none, or a placeholder such as ANON or 0): "
            "complete the ids, or set policy.missing_patient: exclude to leave those images out"
        ]
    if lacking == len(listing.manifest):
        return ["no image has a patient id, so none is left: complete the ids"]
    return []


def _conflicts(report: Mapping[str, Any], policy: Policy) -> list[str]:
    conflicts = len(report["duplicates"]["label_conflicts"])
    if not conflicts or policy.label_conflicts == "report":
        return []
    return [
        f"pixel-identical images whose labels contradict each other, in groups: {conflicts}; "
        "correct the labels, or list images in data.exclude before the ledger begins"
    ]


def _left_out(report: Mapping[str, Any], listing: Listing) -> list[str]:
    lines = []
    if listing.excluded_in_vain:
        lines.append(f"data.exclude names what is not there: {', '.join(listing.excluded_in_vain)}")
    if report["refused"]:
        lines.append(f"images that are refused: {len(report['refused'])}; the others train on")
    duplicates = report["duplicates"]
    if duplicates["label_conflicts"]:
        lines.append(
            "pixel-identical images whose labels contradict each other, in groups: "
            f"{len(duplicates['label_conflicts'])}; all train until data.exclude or the labels "
            "settle it"
        )
    if duplicates["across_parts"]:
        lines.append(
            "pixel-identical images in several parts, in groups: "
            f"{len(duplicates['across_parts'])}; test figures are a little too good"
        )
    return lines


def _labels(report: Mapping[str, Any], public: Sequence[str]) -> list[str]:
    foreign = [name for name in report["labels"] if public and name not in public]
    lines = []
    if foreign:
        lines.append(
            f"labels outside the public classes: {', '.join(foreign)}; the task must name one of "
            "them as its negative_label, or data.label_map translate them"
        )
    if report["labels"] and not report["parts"]["test"]["images"]:
        lines.append("nobody is in the test part: there will be no figures")
    return lines


def _headers(report: Mapping[str, Any], listing: Listing) -> list[str]:
    lines = []
    tags = report["identifying_tags"]
    if tags:
        lines.append(
            f"{len(tags)} kinds of tags that PS3.15 counts as identifying hold something; training "
            "reads none of them but those that site.yaml names"
        )
    if "not said" in report["burned_in_annotation"]:
        lines.append(
            f"{report['burned_in_annotation']['not said']} DICOM files do not say whether they "
            "show text: look at the contact sheet"
        )
    if report["kinds"].get("DICOM") and not listing.has_patients:
        lines.append(
            "data.patient_column is not set, so the unit is the image; DICOM has PatientID"
        )
    return lines
