"""Do maps show where the lesion is: evidence against Grad-CAM on the phantom, one table.

    python -m simulations.benchmarks.explanation output_dir=runs/explanation [KEY=VALUE …]

The phantom's generator knows where each lesion lies and keeps that as a mask. Over the test images
that have a finding, the map for that finding is scored by its mask (``localisation.py``), with
and without privacy. The last row is what a map that knows nothing has. Further words are settings
as of ``fedrounds simulate``.

Each cell is a whole run in ``output_dir/MODEL-HEAD-PRIVACY-SEED``: one that has ended is read, one
that was cut off goes on. ``explanation.md`` and ``explanation.json`` are the table of those that
there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from client.cache import decoded_images
from client.site import Site
from common.checkpoint import read_json, write_bytes, write_json
from common.compose import load_settings
from common.data.transforms import normalise
from common.explain import MethodName, saliency
from common.extras import require_extra
from common.metrics.text import figure_text
from common.model_file import read_model_file
from common.models.classifier import Classifier
from simulations.benchmarks.command import cells_folder, run
from simulations.benchmarks.localisation import Localised, shrunk
from simulations.benchmarks.timing import machine
from simulations.cells import run_cell
from simulations.hospitals import FINDINGS, MASK_BITS, kept_hospitals
from simulations.markdown import markdown_table
from simulations.report.text import guarantee_text

BASE = (
    "experiment=phantom",
    "evaluate_every=1000",
    "data.image_size=64",
    "model.width=8",
    "strategy.batch_size=32",
)
PRIVACY = ("none", "patient")
BATCH = 32
CHANCE = "a map that knows nothing"


@dataclass(frozen=True)
class Arm:
    """A model, its head, and the method that draws its maps."""

    model: str
    head: str
    method: MethodName


ARMS = (
    Arm("cnn", "evidence", "evidence"),
    Arm("wsnet", "evidence", "evidence"),
    Arm("cnn", "linear", "gradcam"),
    Arm("resnet18", "linear", "gradcam"),
)


def main(words: Sequence[str]) -> None:
    folder, overrides = cells_folder(words)
    require_extra("Grad-CAM", "explain", "captum")
    console = Console(soft_wrap=True)
    rows: list[dict[str, Any]] = []
    for privacy in PRIVACY:
        for arm in ARMS:
            own = [f"privacy={privacy}", f"model={arm.model}", f"model.head={arm.head}"]
            given = [*own, *BASE, *overrides]
            root = kept_hospitals(folder, load_settings(given).seed)
            settings = load_settings([*given, f"data.root={root}"])
            output = folder / f"{arm.model}-{arm.head}-{privacy}-{settings.seed}"
            result = run_cell(output, settings, console)
            rows.append(row(arm, result, _found(output, arm, root)))
            write_json(folder / "explanation.json", {"schema": 1, "rows": rows})
            write_bytes(folder / "explanation.md", table(rows).encode())


def row(arm: Arm, result: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    spent = [site["privacy"] for site in result["sites"] if site["privacy"]]
    most = max(spent, key=lambda privacy: privacy["epsilon_run"], default=None)
    return {
        "model": f"{arm.model}, {arm.head} head",
        "map": arm.method,
        "privacy": most,
        "auroc_macro": result["metrics"]["auroc_macro"],
        "seed": result["seed"],
        "seconds": result["seconds"]["total"],
        "versions": result["versions"],
        **found,
    }


def _found(output: Path, arm: Arm, root: Path) -> dict[str, Any]:
    """What :func:`localise` finds, kept beside the run."""
    path = output / "localisation.json"
    if not path.exists():
        found = localise(output, arm.method, root)
        figures = {finding: each.figures("phantom") for finding, each in found.items()}
        write_json(path, {"findings": figures, "machine": machine()})
    return read_json(path)


def localise(output: Path, method: MethodName, root: Path) -> dict[str, Localised]:
    """Score the maps of a finished run's model on its test images, by finding.

    Args:
        output: the run's folder.
        method: how maps are drawn.
        root: the phantom hospitals that it was trained on; what is decoded of them is kept beside.
    """
    file, model = read_model_file(output)
    experiment = file.as_experiment()
    pixels, masks, patients = [], [], []
    for folder in sorted((output / "sites").iterdir()):
        site = Site.open(folder)
        manifest = site.manifest(experiment)
        rows = site.rows_of(manifest, "test")
        drawn = [_mask_of(root / folder.name, manifest.files[row]) for row in rows]
        tested = manifest.take(
            [row for row, path in zip(rows, drawn, strict=True) if path.exists()]
        )
        pixels.append(decoded_images(tested, file, root.parent / "images" / folder.name))
        masks += [np.asarray(Image.open(path)) for path in drawn if path.exists()]
        patients += [f"{folder.name}/{patient}" for patient in tested.patients]
    images = np.concatenate(pixels)
    found = {}
    for finding in FINDINGS:
        there = [(mask & MASK_BITS[finding]) > 0 for mask in masks]
        rows = np.flatnonzero([lesion.any() for lesion in there])
        shown = maps(model, method, images[rows], experiment.classes.index(finding))
        small = np.stack([shrunk(there[row], file.image_size) for row in rows])
        found[finding] = Localised.of(shown, small, np.array(patients)[rows])
    return found


def maps(
    model: Classifier, method: MethodName, pixels: NDArray[np.uint8], number: int
) -> NDArray[np.float32]:
    """Maps (N, H, W) for class ``number`` of images uint8 (N, C, H, W)."""
    parts = []
    for begin in range(0, len(pixels), BATCH):
        images = normalise(torch.from_numpy(pixels[begin : begin + BATCH]))
        parts.append(saliency(method, model, images, torch.full((len(images),), number)))
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def _mask_of(hospital: Path, file: str) -> Path:
    """Where the mask of an image lies; there is none where the image has no lesion."""
    return hospital / "masks" / f"{Path(file).stem}.png"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; chance is the same for all, since all score the same images."""
    heading, lines = ["Model", "Map", "ε", "Macro AUROC"], []
    for finding in FINDINGS:
        heading += [f"{finding}: pointing game", f"{finding}: energy inside"]
    for cell in rows:
        words = [cell["model"], cell["map"], "none"]
        if cell["privacy"] is not None:
            words[-1] = f"{cell['privacy']['epsilon_run']:.2f}, {guarantee_text(cell['privacy'])}"
        words.append(figure_text(cell["auroc_macro"]))
        for finding in FINDINGS:
            words += [figure_text(cell["findings"][finding][kind]) for kind in ("hit", "energy")]
        lines.append([*words, str(cell["seed"]), f"{cell['seconds']:.0f}"])
    chance = [figure_text(rows[0]["findings"][finding]["area"]) for finding in FINDINGS]
    lines.append([CHANCE, "", "", "", *(text for text in chance for _ in range(2)), "", ""])
    return markdown_table([*heading, "Seed", "Seconds"], lines)


if __name__ == "__main__":
    run(main)
