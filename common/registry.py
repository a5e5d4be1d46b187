"""A registry refuses duplicates and, on a miss, lists what exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from common.errors import SettingsError
from common.schema import suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Name to thing, for one setting such as ``model.name``."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that makes a thing known under ``name``.

        Raises:
            SettingsError: where the name is taken.
        """

        def decorate(thing: T) -> T:
            if name in self._entries:
                raise SettingsError(f"{self._setting}: two things are called '{name}'")
            self._entries[name] = thing
            return thing

        return decorate

    def names(self) -> list[str]:
        return sorted(self._entries)

    def get(self, name: str) -> T:
        """Look a thing up.

        Raises:
            SettingsError: naming the nearest, or all that exist.
        """
        if name not in self._entries:
            known = suggest(name, self._entries)
            raise SettingsError(f"{self._setting}={name}: there is none of that name{known}")
        return self._entries[name]
