"""A consortium of two sites, and keys as sites make them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.node_keys import new_key_pair
from server.provision.consortium import Consortium
from server.provision.create import create
from server.provision.settings import ProvisionSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Sites ``north`` and ``south``, with ``fl.example.org`` as the server, made at :data:`NOW`."""
    settings = ProvisionSettings(
        sites=("north", "south"), host="fl.example.org", output_dir=str(tmp_path / "consortium")
    )
    return create(settings, NOW)


@pytest.fixture
def public_key(tmp_path: Path) -> Callable[..., Path]:
    """The file that a site sends, with the comment that ``ssh-keygen`` would add."""

    def make(name: str = "sent.pub") -> Path:
        path = tmp_path / name
        path.write_text(f"{new_key_pair()[1]} user@hospital-host\n")
        return path

    return make
