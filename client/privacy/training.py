"""Local training under privacy: Poisson batches of patients, the clip, the noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.centring import centre_is_due
from client.cohort import Cohort
from client.drift import Drift
from client.entries import Charge
from client.loss import build_loss
from client.privacy.centring import measure_centre_privately
from client.privacy.entropy import SecretStream
from client.privacy.guard import refuse_leaking_modules
from client.privacy.sampling import poisson_batches
from client.training import build_optimizer, place, prepare, set_learning_rate
from common.config import Experiment
from common.models import Inputs


def train_private(
    model: nn.Module,
    cohort: Cohort,
    experiment: Experiment,
    charge: Charge,
    denominator: float,
    server_round: int,
    drift: Drift | None = None,
) -> None:
    """Train ``model`` in place for one round under the constants of ``charge``.

    Each step: draw patients (``sampling.py``), take each one's gradient (``gradients.py``), clip it
    to C and add noise σC (``optimizer.py``), divide by the public ``denominator`` = q × public
    count, and only then add ``drift``. Where a centre is to be measured, the first step does that
    (``centring.py``). Nothing here depends on how many patients there are.

    Raises:
        PrivacyError: for a model whose buffers would carry data around the noise.
    """
    from client.privacy.gradients import patient_gradients, patients_at_once
    from client.privacy.optimizer import PatientOptimizer  # Opacus: 2 s, that few messages need

    data, strategy = experiment.data, experiment.strategy
    refuse_leaking_modules(model, data.channels, data.image_size)
    stream = SecretStream()
    augmentation = torch.Generator()  # no part of the guarantee; not reproducible all the same
    augmentation.seed()
    target = place(model)
    model.train()
    optimizer = PatientOptimizer(
        build_optimizer(model, strategy, drift),
        noise_multiplier=charge.noise_multiplier,
        max_grad_norm=charge.max_grad_norm,
        denominator=denominator,
        stream=stream,
        clip=experiment.privacy.clip,
    )
    views = experiment.privacy.augmentations
    at_once = patients_at_once(model, views)
    first = (server_round - 1) * experiment.local_steps
    batches = poisson_batches(cohort.patients, charge.sample_rate, charge.steps, stream)
    steps = enumerate(batches, start=first)

    def drawn(rows: NDArray[np.int64]) -> Iterator[tuple[Inputs, Tensor]]:
        for part in np.split(rows, range(at_once, len(rows), at_once)):
            if len(part):
                seen = np.repeat(part, views)
                yield prepare(cohort, seen, experiment, augmentation, target)

    if centre_is_due(model):
        _, rows = next(steps)
        batch = (inputs for inputs, _ in drawn(rows))
        bound = experiment.model.centre_norm
        measure_centre_privately(model, batch, views, bound, charge, denominator, stream)
    with patient_gradients(model, build_loss(experiment), strategy.precision) as fill:
        for step, rows in steps:
            set_learning_rate(optimizer, strategy, step, experiment.total_steps)
            for inputs, labels in drawn(rows):
                fill(inputs, labels, views)
                optimizer.add_rows()
            optimizer.noisy_step()
    model.cpu()
