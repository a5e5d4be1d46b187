"""The words of a command on a model: its positional ones, flags, options and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import SettingsError
from common.schema import suggest


@dataclass(frozen=True)
class Words:
    """What a command was told.

    Attributes:
        places: the positional words.
        flags: those that were given, as ``--json``.
        options: values by name, as ``--output``.
        settings: ``key=value`` words; a file of that name is a place.
    """

    places: tuple[Path, ...]
    flags: frozenset[str]
    options: Mapping[str, str]
    settings: tuple[str, ...]


def sort_words(
    words: Sequence[str], expected: str, flags: Iterable[str] = (), options: Iterable[str] = ()
) -> Words:
    """Tell the words of a command line apart.

    Args:
        words: all of them.
        expected: how the command is written, for messages.
        flags: those that the command has.
        options: those that take the word after them.

    Raises:
        SettingsError: on an unknown flag, or an option without its value.
    """
    known, given = {*flags, *options}, iter(words)
    places, settings, found, values = list[Path](), list[str](), set[str](), dict[str, str]()
    for word in given:
        if word.startswith("--"):
            if word not in known:
                raise SettingsError(f"unknown word '{word}'{suggest(word, known)}")
            if word in flags:
                found.add(word)
                continue
            value = next(given, None)
            if value is None:
                raise SettingsError(f"{word} needs a value: expected '{expected}'")
            values[word] = value
        elif "=" in word and not Path(word).exists():
            settings.append(word)
        else:
            places.append(Path(word))
    return Words(tuple(places), frozenset(found), values, tuple(settings))
