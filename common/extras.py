"""Packages that only some commands need: ``pip install 'fedrounds[EXTRA]'`` brings them.

They are imported where they are used. Whether they are there is asked before anything starts.
"""

from __future__ import annotations

from importlib.util import find_spec

from common.errors import SettingsError


def require_extra(what: str, extra: str, *modules: str) -> None:
    """Have what an extra brings, or say how to get it.

    Args:
        what: what needs it, for the message.
        extra: its name in ``pyproject.toml``.
        modules: top-level modules that it brings.

    Raises:
        SettingsError: naming those that are not installed.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"{what} needs {', '.join(missing)}, which is not installed: "
            f"pip install 'fedrounds[{extra}]'"
        )
