"""What a lesion changes in an evidence map, and how much of that is where the lesion lies.

    python -m simulations.benchmarks.counterfactual output_dir=runs/explanation [pairs=100]

For the models with an evidence head that ``explanation`` left in the same ``output_dir``, trained
without privacy. The phantom draws each image twice, with a lesion and without, and equal but for
it. By construction a logit is the mean of its map, so the change of the logit is that of the map:
what of it lies within eight pixels of one that differs clearly is at the lesion, the rest came to
other places by way of the network. Images are of all hospitals in turn, without detector noise, and
pass through DICOM as any.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common.checkpoint import write_json
from common.data.images import read_image
from common.data.transforms import STD, normalise
from common.errors import SettingsError
from common.model_file import read_model_file
from common.models import evidence_map
from simulations.benchmarks.command import cells_folder, no_more, run, take_count
from simulations.benchmarks.timing import machine
from simulations.hospitals import FINDINGS, HOSPITALS, draw_image, to_dicom

SEEN = 0.05
"""What differs by more, of the range from black to white, is a lesion's."""
REACH = 8
"""Pixels around a lesion that are still its place: what a few convolutions see."""
ANATOMY = np.array([0, 0.40, 0.68, 0])


@dataclass(frozen=True)
class Change:
    """Means over the pairs of images.

    Attributes:
        logit: by how much the finding's logit is higher with the lesion.
        near: of that, what is added within :data:`REACH` pixels of what differs by
            more than :data:`SEEN`.
        area: the share of the map that lies there.
    """

    logit: float
    near: float
    area: float


def main(words: Sequence[str]) -> None:
    folder, words = cells_folder(words)
    pairs, words = take_count(words, "pairs", 100)
    no_more(words, "output_dir=PATH", "pairs=N")
    cells = sorted(folder.glob("*-evidence-none-*/model.json"))
    if not cells:
        raise SettingsError(
            f"output_dir={folder}: no model with an evidence head there; make them by "
            "'python -m simulations.benchmarks.explanation'"
        )
    found: dict[str, dict[str, Change]] = {}
    for path in cells:
        file, model = read_model_file(path)
        changes = found[path.parent.name] = {}
        for number, finding in enumerate(FINDINGS):
            place = file.as_experiment().classes.index(finding)
            images = drawn_pairs(number, pairs, file.image_size)
            changes[finding] = change(model, place, images)
            told = changes[finding]
            print(
                f"{path.parent.name}, {finding}: logit {told.logit:+.2f}, of it "
                f"{told.near / told.logit:.0%} at the lesion, which is {told.area:.0%} of the map"
            )
    rows = {
        cell: {name: asdict(told) for name, told in changes.items()}
        for cell, changes in found.items()
    }
    facts = {"schema": 1, "pairs": pairs, "machine": machine(), "rows": rows}
    write_json(folder / "counterfactual.json", facts)


def drawn_pairs(number: int, pairs: int, size: int) -> Iterator[Tensor]:
    """Images with finding ``number`` and without, normalised float32 (2, 1, H, W).

    An image is shown from its darkest to its brightest level. Where a lesion is either, all the
    rest would change with it: so both images have the same two levels in their upper corners.
    """
    findings = (number == 0, number == 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        for seed in range(pairs):
            quiet = replace(HOSPITALS[seed % len(HOSPITALS)], noise=0.0)
            drawn = [
                draw_image(quiet, wanted, ANATOMY, np.random.default_rng([number, seed]))[0]
                for wanted in (findings, (False, False))
            ]
            levels = np.min(drawn), np.max(drawn)
            pixels = []
            for image in drawn:
                image[0, 0], image[0, -1] = levels
                to_dicom(image, quiet, "P", 50, "F", str(seed)).save_as(path)
                pixels.append(read_image(path, size, 1))
            yield normalise(torch.from_numpy(np.stack(pixels)))


def change(model: nn.Module, place: int, images: Iterator[Tensor]) -> Change:
    """What a lesion adds to the map of class ``place``."""
    logits, near, areas = list[float](), list[float](), list[float]()
    for pair in images:
        with_it, without = evidence_map(model, pair)[:, place]
        added = (with_it - without) / with_it.numel()
        around = touched((pair[0] - pair[1]).abs() * STD > SEEN, len(added))
        logits.append(float(added.sum()))
        near.append(float(added[around].sum()))
        areas.append(float(around.float().mean()))
    return Change(*map(statistics.mean, (logits, near, areas)))


def touched(different: Tensor, size: int) -> Tensor:
    """The cells of a map, bool (size, size), within :data:`REACH` of a pixel of (1, H, W)."""
    wide = nn.functional.max_pool2d(different.float(), 2 * REACH + 1, stride=1, padding=REACH)
    return nn.functional.adaptive_max_pool2d(wide, size)[0] > 0


if __name__ == "__main__":
    run(main)
