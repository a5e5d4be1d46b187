"""``fedrounds data``: what a folder of images holds, before anything is trained on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from client.gate.guess import guess_layout
from client.gate.pages import task_of, write_pages
from client.gate.report import Progress, check_images
from client.gate.stand_in import stand_in
from client.gate.starter import write_site_yaml
from client.gate.tables import print_report
from client.pseudonyms import Pseudonyms
from client.site import Site
from common.errors import DataError, SettingsError

HELP = """\
usage: fedrounds data PATH [--json] [KEY=VALUE …]
       fedrounds data PATH --init [SITE]

Checks images before anything is trained: what can be read, what is refused and why, patients,
labels, devices, encodings, tags that identify, equal images and labels that contradict each other.

  PATH           a site's folder (with site.yaml), or any folder of images
  KEY=VALUE      for a folder without site.yaml, how it is laid out: data=busi, or
                 data.label_column=dx data.patient_column=lesion_id …; without, it is guessed
  output_dir=DIR for a folder without site.yaml, where report and contact sheet are written;
                 without, nothing is written
  --json         print the report as JSON, and nothing else on standard output
  --init [SITE]  write a first site.yaml for the images under PATH, to be completed: into SITE, or
                 into PATH itself; what is there is never overwritten

The counts are exact, so they stay at the site: they go to this terminal, and for a site's folder to
its pages/ (data.json, contact-sheet.png). No value of a tag that identifies is printed or written;
names of files are.

exit codes: 0 training could start, 1 it could not (the report says what to do), 2 wrong words or
settings, or no images
"""


def help_text() -> str:
    return HELP


def main(words: Sequence[str]) -> int:
    """The subcommand; returns the exit code."""
    flags = {word for word in words if word.startswith("--")}
    settings = [word for word in words if "=" in word and word not in flags]
    folders = [Path(word) for word in words if word not in flags and word not in settings]
    unknown = flags - {"--json", "--init"}
    if unknown or not 1 <= len(folders) <= (2 if "--init" in flags else 1):
        raise SettingsError(
            f"expected 'data PATH [KEY=VALUE …]' or 'data PATH --init [SITE]', got "
            f"{' '.join(words) or 'nothing'}"
        )
    if not folders[0].is_dir():
        raise SettingsError(f"{folders[0]}: expected a folder of images or a site's folder")
    if "--init" in flags:
        if settings or "--json" in flags:
            raise SettingsError("--init guesses the layout: it takes no settings and no --json")
        return _init(folders[0].resolve(), folders[-1])
    return _check(folders[0].resolve(), settings, as_json="--json" in flags)


def _init(images: Path, folder: Path) -> int:
    guess = guess_layout(images)
    if guess is None:
        raise DataError(
            f"{images}: expected a table whose rows lead to images, a folder a class, a MedMNIST "
            "file or DICOM; docs/site.md says how a site.yaml is written by hand"
        )
    path = write_site_yaml(folder, guess)
    print(f"{path}: written, as a guess: {guess.how}")
    for line in guess.to_do:
        print(f"  look at {line}")
    print(f"complete it (FILL IN, label_map), then: fedrounds data {folder}")
    return 0


def _check(folder: Path, words: Sequence[str], *, as_json: bool) -> int:
    is_site = (folder / "site.yaml").exists()
    if is_site and words:
        raise SettingsError(f"{folder}: its site.yaml says all; change it there: {' '.join(words)}")
    listing, output = None, folder / "pages" if is_site else None
    if is_site:
        site = Site.open(folder)
        task, pseudonyms = task_of(site), Pseudonyms.of_site(folder)
    else:
        known = stand_in(folder, words)
        site, task, listing, output = known.site, known.task, known.listing, known.output
        pseudonyms = Pseudonyms.passing()
    with _bar() as progress:
        checked = check_images(site, task, pseudonyms, progress, listing)
    written = write_pages(output, site, checked) if output else []
    if as_json:
        print(json.dumps(checked.report, indent=1))
    else:
        console = Console()
        print_report(console if console.is_terminal else Console(width=120), checked.report)
        for path in written:
            print(f"written: {path}")
    return 0 if checked.report["trains"] else 1


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on the terminal's standard error, where there is one."""
    console = Console(stderr=True)
    if not console.is_terminal or not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    columns = TextColumn("reading images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("images", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
