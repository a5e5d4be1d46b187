"""What holds a site to the others while it trains: FedProx's and SCAFFOLD's terms, one thing here.

Each step's gradient becomes

    g ← g + μ (w − w₀) + (c − cₖ)

with w₀ the model that the site was sent (FedProx: Li et al. 2020, eq. 2, whose term's gradient
this is; Ditto's personal model: Li et al. 2021, algorithm 1) and c − cₖ SCAFFOLD's correction
(Karimireddy et al. 2020, eq. 3). Neither holds anything of the site's data beyond what it has
released. So under privacy both are added after the clip and the noise, which they leave as they
are: before the clip they would take up the room that C leaves for each patient's gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from common.parameters import Arrays, check_arrays


@dataclass(frozen=True)
class Drift:
    """The two terms of one training; by default there is neither.

    Attributes:
        proximal: μ.
        anchor: w₀, a tensor for each parameter by name; read where μ is not 0.
        correction: c − cₖ likewise; empty where there is none.
    """

    proximal: float = 0.0
    anchor: Mapping[str, Tensor] = field(default_factory=dict)
    correction: Mapping[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(proximal: float, sent: Arrays, correction: Arrays | None = None) -> Drift:
        """From the model that was sent, and the correction with it.

        Raises:
            ModelError: where the correction does not fit that model.
        """
        if correction is not None:
            check_arrays(correction, sent)
        return Drift(proximal, _tensors(sent), _tensors(correction or {}))

    def correct(self, model: nn.Module) -> None:
        """Add both terms to the gradients of ``model``, in place."""
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                continue
            if self.proximal:
                anchor = self.anchor[name].to(parameter.device)
                parameter.grad += self.proximal * (parameter.detach() - anchor)
            if self.correction:
                parameter.grad += self.correction[name].to(parameter.device)

    def attach(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Correct just before each step of ``optimizer``: when clip and noise are done."""
        if self.proximal or self.correction:
            optimizer.register_step_pre_hook(lambda *_: self.correct(model))


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
