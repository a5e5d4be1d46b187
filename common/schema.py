"""Strict building of frozen dataclasses from plain values, and back.

Settings reach this project as plain mappings: composed by Hydra, parsed from a site's
``site.yaml``, or parsed from the YAML string that the server sends. All three go through
:func:`build`, which checks every key and type, reports every problem together, and returns
frozen dataclasses. Nothing is interpolated and nothing is executed.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from omegaconf import MISSING

from common.errors import SettingsError

T = TypeVar("T")


def suggest(word: str, known: Iterable[str]) -> str:
    """The nearest known word, as ``, did you mean 'x'?``; where none is near, all that exist."""
    options = sorted(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if near:
        return f", did you mean '{near[0]}'?"
    return f"; there are: {', '.join(options)}" if options else ""


def parse_yaml(text: str) -> Any:
    """Plain values from YAML's safe loader: the one in C, a tenth of the time, where it is there.

    Raises:
        yaml.YAMLError: where the text is no YAML.
    """
    loader = (yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml(path: Path, expected: str) -> Any:
    """Read a file of plain values, with YAML's safe loader.

    Args:
        path: the file.
        expected: what it should be, for the message where it cannot be read.

    Raises:
        SettingsError: where it is missing or no YAML in UTF-8.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: expected {expected}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected YAML: {error}") from error


def build(cls: type[T], values: object, where: str = "") -> T:
    """Build the frozen dataclass ``cls`` from plain ``values``.

    Args:
        cls: a frozen dataclass whose fields are scalars, ``Literal``, optionals, tuples of one
            type, string-keyed mappings or further dataclasses.
        values: what to build from, usually a mapping from field name to plain value.
        where: dotted path put before every field's name in messages.

    Raises:
        SettingsError: with one line for each unknown key, missing key or wrong type.
    """
    problems: list[str] = []
    result = _dataclass(cls, values, where, problems)
    if problems:
        raise SettingsError(problems)
    return result


def to_plain(value: Any) -> Any:
    """Turn a dataclass into mappings, lists and scalars that YAML and JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value


def narrow(cls: type[T], value: Any, **changes: Any) -> T:
    """Copy the fields that ``cls`` has out of ``value`` (a wider dataclass), with ``changes``."""
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: getattr(value, name) for name in names} | changes)


def mutable_twin(cls: type) -> type:
    """Make the plain dataclass that Hydra composes into.

    OmegaConf cannot merge into a frozen dataclass, so the composed schema is derived from the
    frozen one: the same fields and defaults, not frozen. Its values have no types: :func:`build`
    checks those afterwards, and unlike OmegaConf it reports every wrong one, not just the first.
    """
    hints = _hints(cls)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            twin = mutable_twin(hint)  # type: ignore[arg-type]
            fields.append((field.name, twin, dataclasses.field(default_factory=twin)))
            continue
        default: Any = MISSING
        if field.default is not dataclasses.MISSING:
            default = to_plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = to_plain(field.default_factory())
        fields.append((field.name, Any, _plain_field(default)))
    return dataclasses.make_dataclass(f"Composed{cls.__name__}", fields)


def _plain_field(default: Any) -> Any:
    """A dataclass field with this default, which may be a list or a mapping."""
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: default)
    return dataclasses.field(default=default)


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    """Looked up once: it takes longer than the rest of :func:`build`, in every message."""
    return get_type_hints(cls)


def _dataclass(cls: type[T], values: object, where: str, problems: list[str]) -> T:
    if not isinstance(values, Mapping):
        expected = f"expected a group of settings, got {values!r}"
        problems.append(f"{where or cls.__name__}: {expected}")
        return cls.__new__(cls)
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in fields:
            problems.append(f"unknown setting '{prefix}{key}'{suggest(str(key), fields)}")
    built: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values and values[name] != MISSING:
            built[name] = _value(hints[name], values[name], f"{prefix}{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"'{prefix}{name}' must be given")
    if problems:
        return cls.__new__(cls)  # never used: the caller raises with every problem
    return cls(**built)


def _value(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(args, value, where, problems)
    if origin is Literal:
        if value in args:
            return value
        hint_text = suggest(str(value), [str(a) for a in args])
        problems.append(
            f"{where}: expected one of {', '.join(map(str, args))}, got {value!r}{hint_text}"
        )
        return value
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_value(args[0], v, f"{where}[{i}]", problems) for i, v in enumerate(value))
        problems.append(f"{where}: expected a list, got {value!r}")
        return value
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(k): _value(args[1], v, f"{where}.{k}", problems) for k, v in value.items()}
        problems.append(f"{where}: expected a mapping, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where, problems)  # type: ignore[arg-type]
    return _scalar(hint, value, where, problems)


def _union(args: tuple[Any, ...], value: Any, where: str, problems: list[str]) -> Any:
    if value is None and type(None) in args:
        return None
    attempts: list[list[str]] = []
    for arg in args:
        if arg is type(None):
            continue
        attempt: list[str] = []
        result = _value(arg, value, where, attempt)
        if not attempt:
            return result
        attempts.append(attempt)
    problems.extend(attempts[0])
    return value


def _scalar(hint: type, value: Any, where: str, problems: list[str]) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif hint is float:
        number = _as_float(value)
        if number is not None:
            return number
    elif hint is str:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    problems.append(f"{where}: expected {expected[hint]}, got {value!r}")
    return value


def _as_float(value: Any) -> float | None:
    """A finite float from a number, or from text: YAML 1.1 reads ``1e-5`` as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
