"""Local training under privacy: Poisson batches of patients, the clip, the noise."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from opacus import GradSampleModule
from torch import Tensor, nn

from client.cohort import Cohort
from client.entries import Charge
from client.loss import loss_per_image
from client.privacy.entropy import SecretStream
from client.privacy.guard import refuse_leaking_modules
from client.privacy.optimizer import PatientOptimizer
from client.privacy.sampling import poisson_batches
from client.training import build_optimizer, device, prepare, set_learning_rate
from common.config import Experiment

MAX_PHYSICAL_BATCH = 128
"""Rows whose per-sample gradients are held at once; a larger batch is split before the clip."""


def train_private(
    model: nn.Module,
    cohort: Cohort,
    experiment: Experiment,
    charge: Charge,
    denominator: float,
    server_round: int,
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
    stream = SecretStream()
    augmentation = torch.Generator()  # no part of the guarantee; not reproducible all the same
    augmentation.seed()
    model.to(target).train()
    per_sample = GradSampleModule(model, loss_reduction="sum")
    optimizer = PatientOptimizer(
        build_optimizer(model, strategy),
        noise_multiplier=charge.noise_multiplier,
        max_grad_norm=charge.max_grad_norm,
        denominator=denominator,
        stream=stream,
    )
    first = (server_round - 1) * experiment.local_steps
    batches = poisson_batches(cohort.patients, charge.sample_rate, charge.steps, stream)
    for step, rows in enumerate(batches, start=first):
        set_learning_rate(optimizer, strategy, step, experiment.total_steps)
        for part in np.split(rows, range(MAX_PHYSICAL_BATCH, len(rows), MAX_PHYSICAL_BATCH)):
            if len(part):
                images, labels = prepare(cohort, part, experiment, augmentation, target)
                loss = loss_per_image(per_sample(images), labels, experiment.multi_label).sum()
                _backward(loss)
                optimizer.add_rows()
        optimizer.noisy_step()
    per_sample.to_standard_module()
    model.cpu()


def _backward(loss: Tensor) -> None:
    with warnings.catch_warnings():  # Opacus hooks the first layer, whose input needs no gradient
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        loss.backward()  # type: ignore[no-untyped-call]
