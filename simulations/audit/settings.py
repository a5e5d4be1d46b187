"""What an audit can be told: ``key=value`` words to a frozen dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from common.errors import SettingsError
from common.schema import build

LEAST_CANARIES, MOST_CANARIES = 256, 16384
"""With fewer no test has power; with more the canaries' images pass a few hundred megabytes."""
MOST_STEPS = 2000
"""Every step is kept: with the most canaries some hundred megabytes."""
LEAST_DELTA = 1e-8
"""The claimed curve is exact to 1e-9."""
MOST_EPSILON = 50.0
"""Above it the privacy loss leaves the range in which exp() is exact enough."""


@dataclass(frozen=True)
class AuditedPrivacy:
    """The claim: what the training about to be attacked says that it keeps."""

    epsilon: float = 8.0
    """σ is planned for it, as for a training."""
    delta: float = 1e-5
    sample_rate: float = 0.1
    """q: probability that a patient is drawn into a step."""


@dataclass(frozen=True)
class AuditSettings:
    """One audit, or several in a row."""

    seed: int = 0
    """Sets who is in and the phantom; noise and sampling are never seeded."""
    canaries: int = 4096
    """Canary patients, each in or out by a fair coin."""
    steps: int = 200
    repeat: int = 1
    """How many audits, with seeds ``seed``, ``seed + 1``, …"""
    output_dir: str | None = None
    privacy: AuditedPrivacy = field(default_factory=AuditedPrivacy)


def audit_settings(words: Sequence[str]) -> AuditSettings:
    """Build the settings from words such as ``privacy.epsilon=3``.

    Raises:
        SettingsError: with one line for each word or value that cannot be used.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            problems.append(f"expected KEY=VALUE, got '{word}'")
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            problems.append(f"{key}: expected a value, got {text!r}")
            continue
        group, dot, name = key.partition(".")
        if dot and not isinstance(values.setdefault(group, {}), dict):
            problems.append(f"{group}: is given both as a value and as a group")
        elif dot:
            values[group][name] = value
        else:
            values[key] = value
    if problems:
        raise SettingsError(problems)
    settings = build(AuditSettings, values)
    problems = _problems(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _problems(settings: AuditSettings) -> list[str]:
    privacy = settings.privacy
    rules = [
        ("seed", settings.seed, settings.seed >= 0, "0 or more"),
        (
            "canaries",
            settings.canaries,
            LEAST_CANARIES <= settings.canaries <= MOST_CANARIES,
            f"from {LEAST_CANARIES} to {MOST_CANARIES}",
        ),
        (
            "steps",
            settings.steps,
            1 <= settings.steps <= MOST_STEPS,
            f"from 1 to {MOST_STEPS}",
        ),
        ("repeat", settings.repeat, settings.repeat >= 1, "1 or more"),
        (
            "privacy.epsilon",
            privacy.epsilon,
            0 < privacy.epsilon <= MOST_EPSILON,
            f"above 0, at most {MOST_EPSILON:g}",
        ),
        (
            "privacy.delta",
            privacy.delta,
            LEAST_DELTA <= privacy.delta < 0.1,
            f"at least {LEAST_DELTA:g}, below 0.1",
        ),
        (
            "privacy.sample_rate",
            privacy.sample_rate,
            0 < privacy.sample_rate <= 1,
            "above 0, at most 1",
        ),
    ]
    return [f"{name}: expected {rule}, got {value:g}" for name, value, ok, rule in rules if not ok]
