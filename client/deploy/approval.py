"""What code runs at a site: the package installed there, and nothing that a bundle brings.

Flower 1.41 ships a bundle (FAB) of the app's code to every site and imports it there, before any
installed module of the same name. Here that is stopped twice, in the two processes it passes:

    1. **the SuperNode**, when it has fetched a run's bundle and before it keeps it
       (:func:`guard_supernode`). What is not the bundle of ``common/bundle.py`` is refused, with a
       line in ``audit.jsonl``; the server gets Flower's error ``INVALID_FAB``.
    2. **the ClientApp's process**, which would unpack the bundle and put it first on ``sys.path``
       (:func:`guard_clientapp`). It checks again, unpacks nothing, and loads the installed app. So
       no code of a bundle could run even where the first check did not.

Both replace functions of Flower that are not public, which is why its version is pinned; one that
is not there any more raises ``AttributeError`` when the site starts, and nothing is served.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp

from common.bundle import COMPONENTS, PYPROJECT, PYPROJECT_NAME
from common.errors import PolicyError
from common.flower import replace_in
from common.journal import Journal

MANIFEST_NAME = ".info/CONTENT"
"""Flower's list of a bundle's files and their digests."""

MAX_BYTES = 65_536
"""Largest bundle, and largest file in one, that is looked into: the real one has 600 bytes."""


UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError)
"""What Python's readers of zip and TOML raise on bytes that somebody made for them."""


def check_bundle(content: bytes) -> None:
    """Refuse a bundle that brings, names or sets anything but the installed apps.

    Raises:
        PolicyError: naming what it brings.
    """
    if len(content) > MAX_BYTES:
        raise PolicyError(f"the bundle has {len(content)} bytes: expected at most {MAX_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(entry.filename for entry in archive.infolist())
            strange = [name for name in names if name not in (MANIFEST_NAME, PYPROJECT_NAME)]
            if strange:
                raise PolicyError(
                    f"the bundle brings {len(strange)} files of its own "
                    f"({', '.join(strange[:5])}): only what is installed here may run"
                )
            if names != [MANIFEST_NAME, PYPROJECT_NAME]:
                raise PolicyError(f"the bundle holds {names}: expected its two files once each")
            if any(entry.file_size > MAX_BYTES for entry in archive.infolist()):
                raise PolicyError(f"the bundle unpacks to more than {MAX_BYTES} bytes")
            found = tomllib.loads(archive.read(PYPROJECT_NAME).decode("utf-8"))
    except UNREADABLE as error:
        raise PolicyError("the bundle cannot be read") from error
    apps = _components(found)
    if apps != COMPONENTS:
        raise PolicyError(f"the bundle names the apps {apps}: expected {COMPONENTS}")
    if found != tomllib.loads(PYPROJECT):
        raise PolicyError(f"the bundle's {PYPROJECT_NAME} sets more than the installed one allows")


def _components(found: dict[str, Any]) -> Any:
    try:
        return found["tool"]["flwr"]["app"]["components"]
    except (KeyError, TypeError):
        return None


def guard_supernode(folder: Path) -> None:
    """Put the check between fetching a bundle and keeping it, in this process's SuperNode.

    Flower has a place for it: bundles are verified where the site lists trusted entities and the
    SuperLink says that it verifies at all. Both are made true here, and the verification is ours.
    """
    from flwr.supercore.fab import Fab
    from flwr.supernode import start_client_internal as internal

    pull: Callable[..., Any] = internal._pull_and_store_message
    journal = Journal(folder)

    def guarded_pull(**given: Any) -> Any:
        fetch = given["get_fab"]

        def get_fab(fab_hash: str, run_id: int) -> Fab:
            fab = fetch(fab_hash, run_id)
            return Fab(fab.hash_str, fab.content, {"valid_license": "checked at this site"})

        return pull(**{**given, "get_fab": get_fab, "trusted_entities": {"installed": ""}})

    def installed_only(fab: Fab, trusted_entities: dict[str, str]) -> bool:  # noqa: ARG001
        return is_approved(fab.content, journal)

    replace_in(internal, "_pull_and_store_message", guarded_pull)
    replace_in(internal, "_verify_fab", installed_only)


def guard_clientapp(folder: Path, load: Callable[[], ClientApp]) -> None:
    """Let this process run the app that ``load`` gives, whatever its bundle holds.

    Raises:
        PolicyError: later, within Flower, on a bundle that is not the installed one's.
    """
    from flwr.supernode.runtime import run_clientapp as runtime

    journal = Journal(folder)

    def unpack_nothing(content: bytes, **_: Any) -> None:
        if not is_approved(content, journal):
            raise PolicyError("the site refused the bundle")  # this text reaches the server

    def load_installed(**_: Any) -> Callable[..., ClientApp]:
        return lambda *_: load()

    replace_in(runtime, "install_from_fab", unpack_nothing)
    replace_in(runtime, "get_load_client_app_fn", load_installed)


def is_approved(content: bytes, journal: Journal) -> bool:
    """Whether a bundle may be used; a refusal is a line of the audit."""
    try:
        check_bundle(content)
    except PolicyError as error:
        with suppress(OSError):
            digest = hashlib.sha256(content).hexdigest()
            journal.audit("bundle refused", sha256=digest, reason=str(error))
        return False
    return True
