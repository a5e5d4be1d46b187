"""What a strategy's settings hold against themselves, and against the privacy asked for."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from common.config import PrivacyTarget, StrategySettings

ROBUST = ("median", "trimmed_mean", "krum", "multi_krum", "geometric_median")

READ_BY: dict[str, tuple[str, ...]] = {
    "proximal": ("fedprox", "ditto"),
    "server_learning_rate": ("fedavgm", "fedadam", "fedyogi"),
    "server_momentum": ("fedavgm", "fedadam", "fedyogi"),
    "second_momentum": ("fedadam", "fedyogi"),
    "adaptivity": ("fedadam", "fedyogi"),
    "byzantine": ROBUST,
}
"""Settings that some strategies alone read; another's would be set in vain."""


NO_SHARED_MODEL = ("fedbn", "local")
"""What ends with a model a site and none beside them."""

MEAN_OF_MODELS = ("fedavg", "fedprox", "ditto", "fedbn", "local", *ROBUST)
"""What makes of the sites' models one between them; the others go on in the same direction."""


def renamed(strategy: StrategySettings, name: str) -> StrategySettings:
    """The same local optimisation under another strategy, which is told nothing in vain."""
    default = {f.name: f.default for f in fields(StrategySettings)}
    unread = {key: default[key] for key, readers in READ_BY.items() if name not in readers}
    return replace(strategy, name=name, **unread)  # type: ignore[arg-type]


def check_centred(strategy: StrategySettings) -> list[str]:
    """A centre is a place, to which each site goes in one step, and not a direction."""
    if strategy.name in MEAN_OF_MODELS:
        return []
    return [
        f"strategy.name={strategy.name} goes on where the sites went, which a mean that they "
        f"measured is not for: with model.centred=true take one of {', '.join(MEAN_OF_MODELS)}"
    ]


def check_strategy(strategy: StrategySettings, privacy: PrivacyTarget) -> list[str]:
    """Return every contradiction, a line each."""
    return (
        _check_local(strategy)
        + _check_server(strategy)
        + _check_name(strategy)
        + _check_unread(strategy)
        + _check_private(strategy, privacy)
    )


def _check_local(strategy: StrategySettings) -> list[str]:
    problems = []
    if strategy.batch_size < 1:
        problems.append(f"strategy.batch_size: expected at least 1, got {strategy.batch_size}")
    if not 0 < strategy.learning_rate < math.inf:
        problems.append(f"strategy.learning_rate: expected above 0, got {strategy.learning_rate}")
    if not 0 <= strategy.weight_decay < math.inf:
        problems.append(f"strategy.weight_decay: expected at least 0, got {strategy.weight_decay}")
    if not 0 <= strategy.momentum < 1:
        problems.append(f"strategy.momentum: expected in [0, 1), got {strategy.momentum}")
    return problems


def _check_server(strategy: StrategySettings) -> list[str]:
    problems = []
    if not 0 <= strategy.proximal < math.inf:
        problems.append(f"strategy.proximal: expected at least 0, got {strategy.proximal}")
    for name in ("server_learning_rate", "adaptivity"):
        value = getattr(strategy, name)
        if not 0 < value < math.inf:
            problems.append(f"strategy.{name}: expected above 0, got {value}")
    for name in ("server_momentum", "second_momentum"):
        value = getattr(strategy, name)
        if not 0 <= value < 1:
            problems.append(f"strategy.{name}: expected in [0, 1), got {value}")
    if strategy.byzantine < 1:
        problems.append(
            f"strategy.byzantine: expected at least 1, got {strategy.byzantine}; against nobody "
            "strategy=fedavg wastes no answer"
        )
    return problems


def _check_name(strategy: StrategySettings) -> list[str]:
    """What a strategy needs of the local optimisation."""
    problems = []
    if strategy.name in READ_BY["proximal"] and strategy.proximal == 0:
        problems.append(
            f"strategy.name={strategy.name} needs strategy.proximal above 0: how strongly a site "
            "is held to the shared model"
        )
    if strategy.name == "scaffold":
        plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
        other = {k: getattr(strategy, k) for k, v in plain.items() if getattr(strategy, k) != v}
        problems += [
            f"strategy.name=scaffold needs strategy.{name}={plain[name]}, got {value}: its control "
            "variates are mean gradients only where a step is the gradient times the rate"
            for name, value in other.items()
        ]
    return problems


def _check_unread(strategy: StrategySettings) -> list[str]:
    default = {f.name: f.default for f in fields(StrategySettings)}
    return [
        f"strategy.{name}={getattr(strategy, name):g} is read by {', '.join(readers)} alone, and "
        f"strategy.name={strategy.name} was asked for"
        for name, readers in READ_BY.items()
        if strategy.name not in readers and getattr(strategy, name) != default[name]
    ]


def _check_private(strategy: StrategySettings, privacy: PrivacyTarget) -> list[str]:
    if strategy.name == "fedbn" and privacy.enabled:
        return [
            "strategy.name=fedbn keeps each site's normalisation apart, and a site's own part of a "
            "model is averaged with nobody's: under privacy take strategy=fedavg (its GroupNorm "
            "has no statistics to keep), or strategy=ditto, whose personal models are priced; or "
            "privacy=none"
        ]
    return []
