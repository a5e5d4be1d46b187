"""From command-line overrides to typed settings, with Hydra's compose API.

Hydra composes the groups under ``conf/``; this module is the last place that sees an OmegaConf
object. ``hydra.main`` is not used: it exits 1 on a wrong setting, leaves ``outputs/`` behind, and
lets ``+privacy.epsilonn=3`` add a key that nothing reads.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.checks import check_settings
from common.config import Settings
from common.errors import SettingsError
from common.schema import build, mutable_twin, suggest

CONF = Path(__file__).resolve().parent.parent / "conf"


def load_settings(overrides: Sequence[str], *, has_data: bool = True) -> Settings:
    """Compose the settings of one run, and check them.

    Args:
        overrides: ``key=value`` words, by Hydra's grammar.
        has_data: whether the run's data lie on this machine; a server's do not.

    Raises:
        SettingsError: naming every unknown key and choice, or every wrong value, together.
    """
    return _checked(compose_settings(overrides), has_data)


def compose_settings(overrides: Sequence[str]) -> Settings:
    """Compose settings that need not be a whole run's: they may contradict each other.

    Raises:
        SettingsError: naming every unknown key and choice, or every value of a wrong type.
    """
    parsed = parse_overrides(overrides)
    sweeps = [o.input_line for o in parsed if o.is_sweep_override()]
    if sweeps:
        raise SettingsError(f"{', '.join(map(str, sweeps))}: several values make a sweep; add -m")
    free = [o for o in parsed if _mapping_path(o.key_or_group) is not None]
    given = [str(o.input_line) for o in parsed if o not in free]
    values = _compose([*_experiment_of_the_data(parsed), *given])
    for override in free:
        _set(values, override)
    return build(Settings, values)


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Expand ``a=1,2 b=3`` into ``[[a=1, b=3], [a=2, b=3]]``, by Hydra's override grammar."""
    axes: list[list[str]] = []
    for override in parse_overrides(overrides):
        key = override.get_key_element()
        if override.is_sweep_override():
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            axes.append([str(override.input_line)])
    return [list(job) for job in itertools.product(*axes)]


def settings_from_plain(values: object, *, has_data: bool = True) -> Settings:
    """Build and check settings from plain values, such as a run's own ``config.yaml``."""
    return _checked(build(Settings, values), has_data)


def _checked(settings: Settings, has_data: bool) -> Settings:
    problems = check_settings(settings, has_data=has_data)
    if problems:
        raise SettingsError(problems)
    return settings


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides and check every key and every group's choice, reporting all together."""
    parser = OverridesParser.create()
    parsed: list[Override] = []
    problems: list[str] = []
    for text in overrides:
        try:
            override = _parse(parser, text)
        except HydraException as error:
            problems.append(f"'{text}' is not key=value ({str(error).splitlines()[0]})")
            continue
        problems += _check_override(override)
        parsed.append(override)
    if problems:
        raise SettingsError(problems)
    return parsed


def _parse(parser: OverridesParser, text: str) -> Override:
    """Parse one override; a text setting may hold what Hydra's grammar would have quoted.

    ``data.image_pattern=images/{image_id}.jpg`` and paths with brackets are meant as they stand.
    """
    try:
        return parser.parse_override(text)
    except HydraException:
        key, found, value = text.partition("=")
        if not found or _hint(key) not in (str, str | None):
            raise
        quoted = value.replace("'", "\\'")
        return parser.parse_override(f"{key}='{quoted}'")


def group_choices() -> dict[str, list[str]]:
    """Every Hydra group with its choices."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and any(folder.glob("*.yaml"))
    }


def is_group(key: str) -> bool:
    """Whether a dotted key holds settings of its own, and is none itself."""
    return is_dataclass(_hint(key))


def _check_override(override: Override) -> list[str]:
    text, key = str(override.input_line), override.key_or_group
    if text[:1] in "+~":
        return [f"'{text}': settings are fixed, so '+', '++' and '~' are refused; write key=value"]
    groups = group_choices()
    if key in groups:
        values = (
            override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
        )
        return [
            f"{key}={value}: unknown choice{suggest(str(value), groups[key])}"
            for value in values
            if str(value) not in groups[key]
        ]
    return _check_key(key, Settings)


def _check_key(key: str, cls: type) -> list[str]:
    """Follow a dotted key down the schema; a mapping's own keys are free."""
    path: list[str] = []
    current: Any = cls
    for part in key.split("."):
        known = [f.name for f in fields(current)]
        if part not in known:
            place = f" under '{'.'.join(path)}'" if path else ""
            extra = group_choices().keys() if not path else ()
            return [f"unknown setting '{key}': no '{part}'{place}{suggest(part, {*known, *extra})}"]
        path.append(part)
        hint = get_type_hints(current)[part]
        if not is_dataclass(hint):
            return []
        current = hint
    return [f"'{key}' is a group without choices of its own; set one of its keys"]


def _hint(key: str) -> Any:
    """The type of a dotted setting, or ``None`` where there is no such setting."""
    current: Any = Settings
    for part in key.split("."):
        if not is_dataclass(current):
            return None
        current = get_type_hints(current).get(part)
    return current


def _experiment_of_the_data(parsed: Sequence[Override]) -> list[str]:
    """``data=ham10000`` alone means the experiment of that name, or else that of any table."""
    chosen = {o.key_or_group: str(o.value()) for o in parsed}
    data = chosen.get("data")
    if "experiment" in chosen or data is None:
        return []
    return [f"experiment={data if data in group_choices()['experiment'] else 'table'}"]


def _mapping_path(key: str) -> list[str] | None:
    """The path of a setting that is a mapping with free keys, such as ``data.label_map``."""
    path: list[str] = []
    current: Any = Settings
    for part in key.split("."):
        if not is_dataclass(current):
            return None
        current = get_type_hints(current).get(part)
        path.append(part)
        if any(get_origin(hint) is Mapping for hint in (current, *get_args(current))):
            return path
    return None


def _set(values: dict[str, Any], override: Override) -> None:
    """Set a mapping as a whole, or one of its keys: Hydra itself only merges known keys."""
    path = _mapping_path(override.key_or_group) or []
    target = values
    for part in path[:-1]:
        target = target[part]
    key = override.key_or_group[len(".".join(path)) + 1 :]
    if not key:
        target[path[-1]] = override.value()
    elif isinstance(target[path[-1]], dict):
        target[path[-1]][key] = override.value()
    else:
        target[path[-1]] = {key: override.value()}


def _compose(overrides: Sequence[str]) -> dict[str, Any]:
    ConfigStore.instance().store(name="schema", node=mutable_twin(Settings))
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            composed = compose(config_name="config", overrides=list(overrides))
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(_first_lines(error)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2])
