"""The bundle that Flower ships to every site: it names what is installed there, and brings nothing.

A Flower App Bundle (FAB) normally holds the app's code, and its modules come before installed ones
of the same name. This one is a ``pyproject.toml`` alone; a site refuses any other.
"""

from __future__ import annotations

import warnings

from flwr.cli.build import build_fab_from_files

from common.bundle import PYPROJECT, PYPROJECT_NAME


def build_bundle() -> bytes:
    """The bundle's bytes: the same at every time and place, for one version of Flower."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower's own, of its pathspec
        data, _ = build_fab_from_files({PYPROJECT_NAME: PYPROJECT.encode()})
    return bytes(data)
