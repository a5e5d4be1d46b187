"""A bare loop over the images of a run's sites, pooled: what one would write without a federation.

    python -m simulations.benchmarks.bare RUN EXPERIMENT THREADS EVERY

In PyTorch alone, or with Opacus where the experiment is private: ``make_private`` with its own
optimiser, its Poisson loader and its hooks. It takes as many steps as all sites of the run
together, of the same model and batch size; it scores the validation part as often as the run did,
and the test part once. Files are decoded once, by pydicom or Pillow, with no care for what they
hold.

``RUN`` is a run's folder, for its sites; ``EXPERIMENT`` a file with the shared experiment;
``EVERY`` the rounds between two evaluations. Prints the seconds of each phase as JSON.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from client.loss import build_loss
from client.site import Site
from common.checks import parse_experiment
from common.config import Experiment
from common.data.split import PARTS
from common.data.transforms import augment, normalise
from common.models import build_model

EVALUATED_AT_ONCE = 256

Data = tuple[Tensor, Tensor]
"""Images uint8 (N, C, H, W) and labels float32 (N, K)."""


def main(words: Sequence[str]) -> None:
    run, experiment = Path(words[0]), parse_experiment(Path(words[1]).read_text(encoding="utf-8"))
    every = int(words[3])
    torch.set_num_threads(int(words[2]))
    seconds, started = {}, time.perf_counter()
    folders = sorted(path.parent for path in run.glob("sites/*/site.yaml"))
    parts = pooled(folders, experiment)
    seconds["decode"] = time.perf_counter() - started
    model = build_model(experiment, seed=experiment.seed)
    steps = experiment.total_steps * len(folders)
    evaluated = set(range(every, experiment.rounds + 1, every)) | {experiment.rounds}
    evaluate_at = {number * experiment.local_steps * len(folders) for number in evaluated}
    loop = private_steps if experiment.privacy.enabled else plain_steps
    seconds["evaluate"], started = 0.0, time.perf_counter()
    for step, _ in enumerate(loop(model, parts["train"], experiment, steps), start=1):
        if step in evaluate_at:
            seconds["evaluate"] += scoring(model, parts["validation"][0])
    seconds["evaluate"] += scoring(model, parts["test"][0])
    seconds["train"] = time.perf_counter() - started - seconds["evaluate"]
    print(json.dumps(seconds))


@cache
def site_parts(folder: str, text: str) -> dict[str, Data]:
    """A site's parts, kept for as long as the process lives."""
    return pooled([Path(folder)], parse_experiment(text))


def pooled(folders: Sequence[Path], experiment: Experiment) -> dict[str, Data]:
    """Each part of all sites together."""
    images: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    labels: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for folder in folders:
        site = Site.open(folder)
        manifest = site.manifest(experiment)
        for part in PARTS:
            rows = site.rows_of(manifest, part)
            images[part] += [decoded(manifest.root / manifest.files[r], experiment) for r in rows]
            labels[part].append(torch.from_numpy(manifest.labels[rows]))
    return {part: (torch.stack(images[part]), torch.cat(labels[part])) for part in PARTS}


def decoded(path: Path, experiment: Experiment) -> Tensor:
    """One file as uint8 (C, size, size)."""
    if path.suffix == ".dcm":
        from pydicom import dcmread

        pixels: NDArray[np.floating] = dcmread(path).pixel_array.astype(np.float32)
        image = Image.fromarray((255 * pixels / pixels.max()).astype(np.uint8))
    else:
        image = Image.open(path)
    size, channels = experiment.data.image_size, experiment.data.channels
    image = image.convert("L" if channels == 1 else "RGB").resize((size, size))
    return torch.from_numpy(np.array(image)).view(size, size, channels).permute(2, 0, 1)


def plain_steps(model: nn.Module, data: Data, experiment: Experiment, steps: int) -> Iterator[None]:
    """Train in PyTorch; yields after each step."""
    images, labels = data
    loss, size = build_loss(experiment), experiment.strategy.batch_size
    optimizer = torch.optim.AdamW(model.parameters(), experiment.strategy.learning_rate)
    generator = torch.Generator().manual_seed(0)
    order, taken = torch.randperm(len(images), generator=generator), 0
    for _ in range(steps):
        if taken + size > len(order):
            order, taken = torch.randperm(len(images), generator=generator), 0
        rows, taken = order[taken : taken + size], taken + size
        model.train()
        optimizer.zero_grad()
        losses = loss(model(prepared(images[rows], experiment, generator)), labels[rows])
        losses.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def private_steps(
    model: nn.Module, data: Data, experiment: Experiment, steps: int
) -> Iterator[None]:
    """Train with Opacus as its documentation does; yields after each step."""
    from opacus import PrivacyEngine

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus's, of its generator and its hooks
        private, optimizer, loader = PrivacyEngine().make_private(
            module=model.train(),
            optimizer=torch.optim.AdamW(model.parameters(), experiment.strategy.learning_rate),
            data_loader=DataLoader(TensorDataset(*data), batch_size=experiment.strategy.batch_size),
            noise_multiplier=1.0,
            max_grad_norm=experiment.privacy.max_grad_norm,
        )
        yield from opacus_steps(private, optimizer, loader, experiment, steps)


def opacus_steps(
    private: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[Tensor, ...]],
    experiment: Experiment,
    steps: int,
) -> Iterator[None]:
    """Train what ``make_private`` gave; yields after each step."""
    generator, loss, taken = torch.Generator().manual_seed(0), build_loss(experiment), 0
    while taken < steps:
        for images, labels in loader:
            private.train()
            optimizer.zero_grad()
            losses = loss(private(prepared(images, experiment, generator)), labels)
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            taken += 1
            yield
            if taken == steps:
                return


def prepared(images: Tensor, experiment: Experiment, generator: torch.Generator) -> Tensor:
    return normalise(augment(images, experiment.data.augmentation, generator))


def scoring(model: nn.Module, images: Tensor) -> float:
    """Seconds to score all images once."""
    started = time.perf_counter()
    model.eval()
    with torch.inference_mode():
        for part in images.split(EVALUATED_AT_ONCE):  # type: ignore[no-untyped-call]
            model(normalise(part))
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
