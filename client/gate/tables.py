"""The report as a person reads it, on the site's own terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST = 8
"""Lines of one table; the JSON has all."""

KINDS = {
    "within_patient": "of one {unit}, which count once",
    "across_patients": "of several {unit}s",
    "across_parts": "in several parts",
    "label_conflicts": "whose labels contradict each other",
}


def print_report(console: Console, report: Mapping[str, Any]) -> None:
    """Print the tables that have something to say, then what to do."""
    console.print(_overview(report))
    for table in (_labels(report), _files(report), _devices(report), _tags(report)):
        if table.row_count:
            console.print(table)
    for kind, groups in report["duplicates"].items():
        _print_groups(console, KINDS[kind].format(unit=report["unit"]), groups)
    console.print(f"not seen by this check: {'; '.join(report['not_seen'])}", highlight=False)
    console.print(report["note"], highlight=False)
    for line in report["notices"]:
        console.print(f"note: {line}", highlight=False, markup=False)
    for line in report["problems"]:
        console.print(f"training cannot start: {line}", highlight=False, markup=False)
    if report["trains"]:
        console.print("training can start", highlight=False)


def _overview(report: Mapping[str, Any]) -> Table:
    files, patients, unit = report["files"], report["patients"], report["unit"]
    table = Table(title=escape(report["site"]), show_header=False, title_justify="left")
    table.add_row("images", f"{files['found']} found, {files['read']} read")
    if patients:
        table.add_row(f"{unit}s", f"{patients['count']}")
        table.add_row(f"images a {unit}", _most(patients["images_a_patient"], "{1} have {0}"))
        table.add_row("images without an id", f"{patients['images_without_id']}")
    else:
        table.add_row("unit", f"the {unit}: nothing says which patient an image is of")
    table.add_row("labels missing", f"{report['labels_missing']}")
    for column, missing in report["metadata_missing"].items():
        table.add_row(f"'{escape(column)}' missing", f"{missing}")
    table.add_row("seconds", f"{report['seconds']}")
    return table


def _labels(report: Mapping[str, Any]) -> Table:
    table = Table("class", *report["parts"], "unknown", title="images a class and part")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in report["labels"].items():
        unknown = report["labels_unknown"][name]
        table.add_row(escape(name), *(f"{n}" for n in counts.values()), f"{unknown}")
    if table.row_count:
        alike = report["patients"] is None
        name = "images" if alike else f"images / {report['unit']}s"
        parts = report["parts"].values()
        counts = (f"{p['images']}" if alike else f"{p['images']} / {p['units']}" for p in parts)
        table.add_row(name, *counts, "", style="bold")
    return table


def _files(report: Mapping[str, Any]) -> Table:
    table = Table("what", "files", title="files", title_justify="left")
    for key in ("kinds", "sizes", "photometric_interpretations", "transfer_syntaxes", "frames"):
        if report[key]:
            table.add_row(key.replace("_", " "), _most(report[key], "{0}: {1}"))
    reasons: dict[str, int] = {}
    for refused in report["refused"]:
        reasons[refused["reason"]] = reasons.get(refused["reason"], 0) + 1
    for reason, count in list(reasons.items())[:MOST]:
        table.add_row(f"refused: {escape(reason)}", f"{count}")
    for refused in report["refused"][:MOST]:
        table.add_row("", escape(refused["file"]))
    return table


def _devices(report: Mapping[str, Any]) -> Table:
    table = Table("manufacturer", "model", "images", "stations", title="devices")
    for device in report["devices"][:MOST]:
        names = (escape(device[key]) or "(not said)" for key in ("manufacturer", "model"))
        table.add_row(*names, f"{device['images']}", f"{device['stations']}")
    return table


def _tags(report: Mapping[str, Any]) -> Table:
    table = Table("tag", "files", title="identifying tags (PS3.15, table E.1-1): names and counts")
    for tag, count in report["identifying_tags"].items():
        table.add_row(tag, f"{count}")
    if report["burned_in_annotation"]:
        table.add_row("BurnedInAnnotation", _most(report["burned_in_annotation"], "{0}: {1}"))
        removed = report["patient_identity_removed"]
        table.add_row("PatientIdentityRemoved", f"YES: {removed}")
    return table


def _print_groups(console: Console, kind: str, groups: list[list[dict[str, Any]]]) -> None:
    if not groups:
        return
    console.print(f"pixel-identical images {kind}: {len(groups)}", highlight=False)
    for group in groups[:MOST]:
        console.print("  " + " = ".join(_image(one) for one in group[:MOST]), highlight=False)
    if len(groups) > MOST:
        console.print(f"  and {len(groups) - MOST} more; --json has all", highlight=False)


def _image(one: Mapping[str, Any]) -> str:
    facts = [*one["labels"], one["part"]]
    if "patient" in one:
        facts.append(f"patient {one['patient']}")
    return escape(f"{one['file']} ({', '.join(facts)})")


def _most(counts: Mapping[str, int], form: str) -> str:
    shown = [form.format(escape(str(key)), count) for key, count in list(counts.items())[:MOST]]
    more = f", and {len(counts) - MOST} more" if len(counts) > MOST else ""
    return ", ".join(shown) + more
