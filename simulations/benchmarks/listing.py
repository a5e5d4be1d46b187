"""Seconds that a site's manifest takes: a table of rows, or the paths of a folder.

    python -m simulations.benchmarks.listing [--json]

Every message to a site begins with its manifest, so this is paid in each round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.config import SourceSettings, TaskSettings
from common.data.layouts import read_manifest
from simulations.benchmarks.command import no_more, run, take_json
from simulations.benchmarks.timing import measure, tell

CLASSES = ("benign", "malignant")
FOLDERS, IMAGES = 100, 100_000


def write_files(root: Path, images: int) -> None:
    """Empty files, ``LABEL/FOLDER/NUMBER.png``, and ``metadata.csv`` with ten columns of them."""
    columns = ["file", "label", "patient", *(f"other{i}" for i in range(7))]
    lines = [",".join(columns)]
    for number in range(images):
        label = CLASSES[number % 2]
        folder = root / label / str(number % FOLDERS // 2)
        if number < FOLDERS:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").touch()
        file = f"{label}/{folder.name}/{number}.png"
        lines.append(",".join([file, label, f"P{number // 3}", *["some text"] * 7]))
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(source: SourceSettings, _: int) -> int:
    """Read the manifest; how many images it has."""
    return len(read_manifest(source, TaskSettings(), CLASSES))


def main(words: Sequence[str]) -> None:
    """Time both, on 100,000 images."""
    as_json, words = take_json(words)
    no_more(words, "--json")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), IMAGES)
        table = SourceSettings(root=folder, image_column="file", patient_column="patient")
        pattern = "{label}/{folder}/{image}.png"
        paths = SourceSettings(layout="folder", root=folder, image_pattern=pattern)
        readings = {"table": partial(read, table), "folder": partial(read, paths)}
        timings = [measure(name, reading, 5) for name, reading in readings.items()]
    tell("a site's manifest", timings, as_json, images=IMAGES)


if __name__ == "__main__":
    run(main)
