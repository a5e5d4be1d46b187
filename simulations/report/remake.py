"""Settings, versions, and the commands that make a run again."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from common.compose import compose_settings, group_choices, is_group
from common.config import Settings
from common.errors import SettingsError
from common.schema import to_plain
from simulations.audit.settings import MOST_STEPS
from simulations.report.blocks import Code, Section, Table, Text
from simulations.report.run import FinishedRun

PLAIN = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/.][\w./-]*")
"""Texts that Hydra reads as they stand."""
SPECIAL = re.compile(r"[\\()\[\]{}:=, \t]")
"""What stands in a key of a mapping only after a backslash."""


def remake_section(run: FinishedRun) -> Section:
    """How to make the run, its report and an audit of its constants again."""
    try:
        words = shlex.join(remake_words(run.settings))
        about = "With the same versions and data, this makes the run again."
    except SettingsError as error:
        words = "…"
        about = f"The words for … are in the settings below: {error}."
    if run.private_sites:
        about += " Noise and sampling are secret, so figures differ by chance; ε does not."
    verb = "fedrounds simulate" if run.simulated else "fedrounds server COORDINATOR"
    lines = [f"{verb} {words}".strip(), *_audits(run), "fedrounds report RUN"]
    rows = tuple(run.result["versions"].items())
    return Section(
        "remake",
        "Make it again",
        (
            Text(about),
            Code("commands that make this run again", "\n".join(lines)),
            Table("Versions", ("package", "version"), rows),
        ),
    )


def settings_section(run: FinishedRun) -> Section:
    """The settings as the run resolved them."""
    return Section("settings", "Settings", (Code("every setting of this run", run.config.strip()),))


def remake_words(settings: Settings) -> list[str]:
    """The ``key=value`` words that compose to these settings, where the run wrote left out.

    The experiment and the groups are named first; each setting that still differs is a word of
    its own.

    Raises:
        SettingsError: where a setting holds what no command line can say.
    """
    wanted, choices = _without_places(settings), group_choices()
    known = settings.experiment in choices["experiment"]
    words = [f"experiment={settings.experiment}"] if known else []
    base = compose_settings(words)
    for group in sorted(choices.keys() - {"data", "experiment", "recipe"}):
        name = _choice(settings, group)
        if name in choices[group] and name != _choice(base, group):
            words.append(f"{group}={name}")
    given = dict(_leaves(to_plain(_without_places(compose_settings(words)))))
    words += [
        f"{key}={_word(value)}" for key, value in _leaves(to_plain(wanted)) if given[key] != value
    ]
    if _without_places(compose_settings(words)) != wanted:
        raise SettingsError("a setting holds characters that no command line can say")
    return words


def _choice(settings: Settings, group: str) -> str:
    """The file of a group that gives these settings, by its name."""
    part = getattr(settings, group)
    return str(part.unit if group == "privacy" else part.name)


def _without_places(settings: Settings) -> Settings:
    """Whoever makes a run again writes elsewhere."""
    return replace(settings, output_dir=None, ledger_dir=None)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted key; a mapping with free keys is one setting."""
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and is_group(dotted):
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


def _word(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_escaped(k)}:{_word(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_word(item) for item in value) + "]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else "'" + value.replace("'", "\\'") + "'"
    return json.dumps(value)


def _escaped(key: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", key)


def _audits(run: FinishedRun) -> list[str]:
    """An audit of each site's constants, into the run's folder, where the report finds it."""
    lines = []
    for site in run.private_sites:
        p = site["privacy"]
        if 0 < p["steps"] <= MOST_STEPS:
            spent = math.ceil(1000 * p["epsilon_run"]) / 1000  # or σ would be planned higher
            lines.append(
                f"fedrounds audit privacy.epsilon={spent:g} privacy.delta={p['delta']:g} "
                f"privacy.sample_rate={p['sample_rate']:.6g} steps={p['steps']} "
                f"output_dir=RUN/audit-{site['name']}"
            )
    return lines
