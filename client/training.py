"""Local training without privacy, and what it shares with ``privacy/training.py``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.centring import centre_is_due, measure_centre
from client.cohort import Cohort
from client.drift import Drift
from client.loss import build_loss
from client.precision import logits_of
from common.config import Experiment, StrategySettings
from common.data.transforms import augment, normalise
from common.errors import DataError
from common.models import Inputs
from common.schedule import learning_rate


def place(model: nn.Module) -> torch.device:
    """Move ``model`` to where it computes; the device.

    Its filters have their channels last, and its images too (``Cohort.inputs``): convolutions
    take 0.5 to 1.0 times as long (docs/figures.md), and what is computed is the same.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).to(memory_format=torch.channels_last)
    return device


def train_plain(
    model: nn.Module,
    cohort: Cohort,
    experiment: Experiment,
    site: str,
    server_round: int,
    drift: Drift | None = None,
) -> None:
    """Train ``model`` in place for one round without privacy.

    Batches and augmentations follow from (seed, site, round) alone, so that a run repeats bit for
    bit under every engine.

    Raises:
        DataError: where the site has no image to train on.
    """
    if not len(cohort.rows):
        raise DataError(
            f"expected images to train on, and none of this site's {len(cohort.images)} is in the "
            "training part: use more data, or a smaller data.test_fraction"
        )
    strategy, target = experiment.strategy, place(model)
    generator = seeded_generator(experiment.seed, site, server_round)
    loss = build_loss(experiment, cohort)
    model.train()
    optimizer = build_optimizer(model, strategy, drift)
    if centre_is_due(model):
        measure_centre(model, cohort, target)
    first = (server_round - 1) * experiment.local_steps
    batches = epoch_batches(
        cohort.rows, strategy.batch_size, first, experiment.local_steps, experiment.seed, site
    )
    for step, rows in enumerate(batches, start=first):
        set_learning_rate(optimizer, strategy, step, experiment.total_steps)
        inputs, labels = prepare(cohort, rows, experiment, generator, target)
        optimizer.zero_grad()
        losses = loss(logits_of(model, inputs, strategy.precision), labels)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.cpu()


def seeded_generator(*parts: object) -> torch.Generator:
    """A CPU generator that follows from its arguments; for training without privacy only."""
    text = "/".join(map(str, parts)).encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)


def epoch_batches(
    rows: NDArray[np.int64], batch_size: int, first: int, steps: int, seed: int, site: str
) -> Iterator[NDArray[np.int64]]:
    """Batches ``first`` to ``first + steps`` of an endless run of shuffled epochs.

    The order of epoch e follows from (seed, site, e), so a round needs no state of the one before.

    Yields:
        int64 (batch_size,) each.
    """
    orders: dict[int, NDArray[np.int64]] = {}
    for step in range(first, first + steps):
        batch = []
        for drawn in range(step * batch_size, (step + 1) * batch_size):
            epoch, offset = divmod(drawn, len(rows))
            if epoch not in orders:
                order = torch.randperm(
                    len(rows), generator=seeded_generator(seed, site, "epoch", epoch)
                )
                orders[epoch] = rows[order.numpy()]
            batch.append(orders[epoch][offset])
        yield np.array(batch, dtype=np.int64)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, strategy: StrategySettings, step: int, total: int
) -> None:
    """Give ``optimizer`` the rate of this step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(strategy, step, total)


def build_optimizer(
    model: nn.Module, strategy: StrategySettings, drift: Drift | None = None
) -> torch.optim.Optimizer:
    """A fresh optimiser: its state never outlives a round, nor passes from plain to private.

    Args:
        model: whose parameters it steps, but for those that are frozen.
        strategy: its settings.
        drift: added to the gradient that each step is taken with.
    """
    rate, decay = strategy.learning_rate, strategy.weight_decay
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if strategy.optimizer == "sgd":
        optimizer = torch.optim.SGD(trained, rate, momentum=strategy.momentum, weight_decay=decay)
    else:
        optimizer = torch.optim.AdamW(trained, rate, weight_decay=decay)
    (drift or Drift()).attach(optimizer, model)
    return optimizer


def prepare(
    cohort: Cohort,
    rows: NDArray[np.int64],
    experiment: Experiment,
    generator: torch.Generator,
    target: torch.device,
) -> tuple[Inputs, Tensor]:
    """What the model is called with, its images augmented and normalised, and labels (B, K)."""
    images, labels = cohort.batch(rows)
    images = augment(images, experiment.data.augmentation, generator)
    return cohort.inputs(normalise(images.to(target)), rows), labels.to(target)
