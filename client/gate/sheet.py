"""The contact sheet: some images of each class beside each other, for a person to look at.

What no flag says, eyes see: names that are burnt in, images upside down, the wrong organ.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from common.checkpoint import write_private
from common.data.decoding.process import Refusal
from common.data.dicom import Rendering
from common.data.images import read_many
from common.data.manifest import Manifest

TILE, GAP, CAPTION = 128, 4, 14
"""Pixels: of an image, between two, and of the line above a class."""
COLUMNS = 8
MOST_ROWS = 12
INK, PAPER = (20, 20, 20), (245, 245, 245)


def choose(manifest: Manifest, readable: Sequence[int]) -> list[tuple[str, list[int]]]:
    """A few rows of each class, evenly over the table; where no label is known, of all.

    Returns:
        A caption and at most ``COLUMNS`` rows, for each line of the sheet.
    """
    rows = np.array(readable, dtype=np.int64)
    if not manifest.classes:
        some = _spread(rows, COLUMNS * MOST_ROWS)
        return [("", some[i : i + COLUMNS]) for i in range(0, len(some), COLUMNS)]
    lines = []
    for k, name in enumerate(manifest.classes[:MOST_ROWS]):
        own = rows[manifest.labels[rows, k] == 1]
        lines.append((f"{name}: {len(own)} images", _spread(own, COLUMNS)))
    return [line for line in lines if line[1]]


def write_sheet(
    path: Path, manifest: Manifest, readable: Sequence[int], rendering: Rendering
) -> None:
    """Write the sheet as PNG; its owner alone can read it.

    Args:
        path: where; what is there is replaced.
        manifest: the images.
        readable: the rows that can be read; at least one.
        rendering: how they are read.
    """
    lines = choose(manifest, readable)
    rows = [row for _, own in lines for row in own]
    tiles: dict[int, NDArray[np.uint8]] = {}

    def keep(index: int, image: NDArray[np.uint8] | Refusal) -> None:
        if not isinstance(image, Refusal):  # a file may have gone since it was inspected
            tiles[rows[index]] = image

    read_many([manifest.root / manifest.files[row] for row in rows], TILE, 3, keep, rendering)
    stream = BytesIO()
    draw(lines, tiles).save(stream, "PNG")
    write_private(path, stream.getvalue())


def draw(
    lines: Sequence[tuple[str, Sequence[int]]], tiles: dict[int, NDArray[np.uint8]]
) -> Image.Image:
    """Put tiles, uint8 (3, TILE, TILE) by row, under the captions of their lines."""
    height = CAPTION + TILE + GAP
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, len(lines) * height + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (caption, rows) in enumerate(lines):
        top = number * height
        pen.text((GAP, top), caption, fill=INK)
        for column, row in enumerate(rows):
            if row in tiles:
                tile = Image.fromarray(np.moveaxis(tiles[row], 0, -1))
                sheet.paste(tile, (GAP + column * (TILE + GAP), top + CAPTION))
    return sheet


def _spread(rows: NDArray[np.int64], most: int) -> list[int]:
    count = min(most, len(rows))
    return [int(rows[i * len(rows) // count]) for i in range(count)]
