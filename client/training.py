"""Local training, plain and private: the same model, loss and schedule, other batches and step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import Tensor, nn

from client.cohort import Cohort
from client.ledger import Charge
from client.loss import loss_per_image
from client.privacy.entropy import secret_generator
from client.privacy.guard import refuse_leaking_modules
from client.privacy.optimizer import PatientOptimizer
from client.privacy.sampling import poisson_batches
from common.config import Experiment, StrategySettings
from common.data.transforms import augment, normalise
from common.errors import OneClassError

MAX_PHYSICAL_BATCH = 128
"""Rows whose per-sample gradients are held at once; a larger batch is split before the clip."""


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_plain(
    model: nn.Module, cohort: Cohort, experiment: Experiment, site: str, server_round: int
) -> None:
    """Train ``model`` in place for one round without privacy.

    Batches and augmentations follow from (seed, site, round) alone, so that a run repeats bit for
    bit under every engine.

    Raises:
        OneClassError: where the site has no image to train on.
    """
    if not len(cohort.rows):
        raise OneClassError("no patient of this site is in the training part")
    strategy, target = experiment.strategy, device()
    generator = seeded_generator(experiment.seed, site, server_round)
    model.to(target).train()
    optimizer = _optimizer(model, strategy)
    first = (server_round - 1) * experiment.local_steps
    batches = epoch_batches(
        cohort.rows, strategy.batch_size, first, experiment.local_steps, experiment.seed, site
    )
    for step, rows in enumerate(batches, start=first):
        set_learning_rate(optimizer, strategy, step, experiment.total_steps)
        images, labels = _prepare(cohort, rows, experiment, generator, target)
        loss = loss_per_image(model(images), labels, experiment.multi_label).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.cpu()


def train_private(
    model: nn.Module, cohort: Cohort, experiment: Experiment, charge: Charge, denominator: float, server_round: int
) -> None:
    """Train ``model`` in place for one round under the constants of ``charge``.

    Each step: draw patients (``sampling.py``), clip each one's gradient to C and add noise σC
    (``optimizer.py``), divide by the public ``denominator`` = q × public count. Nothing here
    depends on how many patients there are.

    Raises:
        PrivacyError: for a model whose buffers would carry data around the noise.
    """
    data, strategy, target = experiment.data, experiment.strategy, device()
    refuse_leaking_modules(model, data.channels, data.image_size)
    generator = secret_generator()
    model.to(target).train()
    per_sample = GradSampleModule(model, loss_reduction="sum")
    optimizer = PatientOptimizer(
        _optimizer(model, strategy),
        noise_multiplier=charge.noise_multiplier,
        max_grad_norm=charge.max_grad_norm,
        denominator=denominator,
        generator=generator if target.type == "cpu" else _on(target),
    )
    first = (server_round - 1) * experiment.local_steps
    batches = poisson_batches(cohort.patients, charge.sample_rate, charge.steps, generator)
    for step, rows in enumerate(batches, start=first):
        set_learning_rate(optimizer, strategy, step, experiment.total_steps)
        for part in np.split(rows, range(MAX_PHYSICAL_BATCH, len(rows), MAX_PHYSICAL_BATCH)):
            if len(part):
                images, labels = _prepare(cohort, part, experiment, generator, target)
                loss_per_image(per_sample(images), labels, experiment.multi_label).sum().backward()
                optimizer.add_rows()
        optimizer.noisy_step()
    per_sample.to_standard_module()
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
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        batch = []
        for place in places:
            epoch, offset = divmod(int(place), len(rows))
            if epoch not in orders:
                order = torch.randperm(len(rows), generator=seeded_generator(seed, site, "epoch", epoch))
                orders[epoch] = rows[order.numpy()]
            batch.append(orders[epoch][offset])
        yield np.array(batch, dtype=np.int64)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, strategy: StrategySettings, step: int, total: int
) -> None:
    """Cosine: ½(1 + cos(π step / total)) of the rate (Loshchilov and Hutter 2017, eq. 5)."""
    factor = 1.0
    if strategy.schedule == "cosine":
        factor = 0.5 * (1.0 + math.cos(math.pi * min(step, total) / total))
    for group in optimizer.param_groups:
        group["lr"] = strategy.learning_rate * factor


def _optimizer(model: nn.Module, strategy: StrategySettings) -> torch.optim.Optimizer:
    """A fresh optimiser: its state never outlives a round, nor passes from plain to private."""
    rate, decay = strategy.learning_rate, strategy.weight_decay
    if strategy.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=strategy.momentum, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)


def _prepare(
    cohort: Cohort,
    rows: NDArray[np.int64],
    experiment: Experiment,
    generator: torch.Generator,
    target: torch.device,
) -> tuple[Tensor, Tensor]:
    """Images float32 (B, C, H, W), augmented and normalised, and labels float32 (B, K)."""
    images, labels = cohort.batch(rows)
    images = augment(images, experiment.data.augmentation, generator)
    return normalise(images.to(target)), labels.to(target)


def _on(target: torch.device) -> torch.Generator:
    """A secret generator on a GPU, where the noise is drawn beside the parameters."""
    generator = torch.Generator(device=target)
    generator.manual_seed(secret_generator().initial_seed())
    return generator
