"""The centre of the features, measured under privacy: the first step of training, whole.

The same draw of patients, a clip, the same σ, and the same division by a public constant. For a
mean is what one step of length 1 along f(x) − c, the descent of ½‖f(x) − c‖², leads to; so the
accountant prices it as any other step, and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from client.centring import mean_features, move_centre
from client.entries import Charge
from client.privacy.entropy import SecretStream
from common.models import Classifier, Inputs


def measure_centre_privately(
    model: Classifier,
    batch: Iterable[Inputs],
    views: int,
    max_norm: float,
    charge: Charge,
    denominator: float,
    stream: SecretStream,
) -> None:
    """Spend one step on the centre of ``model``.

    Args:
        model: whose centre is to be measured.
        batch: the patients that were drawn, in parts; those of a part one after the other, each
            with its ``views``.
        views: images a patient.
        max_norm: what each patient's features, the mean of its views, are clipped to.
        charge: gives σ.
        denominator: q × public count.
        stream: of the noise.
    """
    from client.privacy.optimizer import PatientOptimizer  # Opacus: 2 s, as in training.py

    step = nn.Parameter(torch.zeros_like(_flat(model)))
    optimizer = PatientOptimizer(
        torch.optim.SGD([step], lr=1.0),
        noise_multiplier=charge.noise_multiplier,
        max_grad_norm=max_norm,
        denominator=denominator,
        stream=stream,
    )
    for inputs in batch:
        rows = mean_features(model, inputs[0])
        rows = rows.reshape(-1, views, rows.shape[1]).mean(dim=1)
        step.grad_sample = -rows  # type: ignore[attr-defined]  # Opacus's own
        optimizer.add_rows()
    optimizer.noisy_step()
    move_centre(model, step.detach())


def _flat(model: Classifier) -> Tensor:
    assert model.centre is not None
    return model.centre.value.flatten()
