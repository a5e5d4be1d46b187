"""A first ``site.yaml``, from what was found in a folder, for a person to complete."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import yaml

from client.gate.guess import Guess
from client.site import SiteSettings
from common.config import SITE_NAME, SourceSettings, TaskSettings
from common.data.labels import derive_classes
from common.data.layouts import read_records
from common.errors import DataError, SettingsError
from common.schema import build, to_plain

TEXT = """\
# A first site.yaml, guessed: {how}. Look at every line.
# docs/site.md has all settings; then: fedrounds data {folder}
name: {name}

{data}
  # The site's own label on the left, the shared class on the right: complete the right side.
{label_map}
policy:                           # the server can ask for less than this, never for more
  release_metrics: none           # none, noised, or exact (exact counts are covered by no ε)
  public_patients: null           # FILL IN: about how many patients train here, as you would say it
                                  #   in public; not computed from the table
  epsilon_max: 8.0                # cap over the life of the ledger, at delta
  delta: 1.0e-5                   # at most 1 / (10 × public_patients)
  min_noise_multiplier: 0.5
  missing_patient: refuse         # or exclude: an image without a patient id, or with ANON, 0, …
  burned_in_annotation: refuse    # or allow: a DICOM image that says that it shows text
  label_conflicts: report         # or refuse: equal images whose labels contradict each other
"""


MARK = "  # "


def write_site_yaml(folder: Path, guess: Guess) -> Path:
    """Write ``folder/site.yaml``.

    Raises:
        SettingsError: where there is one, which is never overwritten.
    """
    path = folder / "site.yaml"
    if path.exists():
        raise SettingsError(f"{path}: is there already, and is not overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    text = TEXT.format(
        how=guess.how,
        folder=folder,
        name=_site_name(folder),
        data=_data(guess),
        label_map=_label_map(guess.source),
    )
    build(SiteSettings, yaml.safe_load(text))  # what is written can be read
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
    return path


def _site_name(folder: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:64]
    return name if SITE_NAME.fullmatch(name) else "site"


def _data(guess: Guess) -> str:
    """The group ``data``: what was guessed, and what has to be decided in any case."""
    default = to_plain(SourceSettings())
    needed = ("layout", "label_column", "patient_column")
    kept = {
        key: value
        for key, value in to_plain(guess.source).items()
        if value != default[key] or key in needed
    }
    dumped = yaml.safe_dump({"data": kept}, sort_keys=False, allow_unicode=True).rstrip()
    lines = [f"{dumped}\n  exclude: []  # images left out, by path; fixed before the ledger begins"]
    for to_do in guess.to_do:
        lines += textwrap.wrap(f"FILL IN: {to_do}", 96, initial_indent=MARK, subsequent_indent=MARK)
    return "\n".join(lines)


def _label_map(source: SourceSettings) -> str:
    """Each label that was found, to itself."""
    try:
        cells = [record.cells for record in read_records(source)]
        labels = [name for name in derive_classes(cells, source, TaskSettings()) if name]
    except (DataError, KeyError):  # no label column was found
        labels = []
    plain = {"label_map": {label: label for label in labels}}
    dumped = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return "".join(f"  {line}\n" for line in dumped.splitlines())
