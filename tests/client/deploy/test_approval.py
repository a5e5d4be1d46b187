"""Which bundles a site takes: the one that brings nothing."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_files

from client.deploy.approval import MANIFEST_NAME, check_bundle, is_approved
from common.bundle import PYPROJECT, PYPROJECT_NAME
from common.errors import PolicyError
from common.journal import Journal
from server.deploy.bundle import build_bundle


def built(files: dict[str, str], pyproject: str = PYPROJECT) -> bytes:
    """A bundle as Flower builds it."""
    encoded = {name: text.encode() for name, text in {PYPROJECT_NAME: pyproject, **files}.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        data: bytes = build_fab_from_files(encoded)[0]
    return data


def zipped(*files: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that stand twice
        for name, data in files:
            archive.writestr(name, data)
    return stream.getvalue()


def test_the_servers_own_bundle_is_taken() -> None:
    check_bundle(build_bundle())


PLAIN = PYPROJECT.encode()
OTHER_APP = PYPROJECT.replace("client.app:app", "client.other:app")
WITH_CONFIG = PYPROJECT + "\n[tool.flwr.app.config]\nsite = '/elsewhere'\n"
WITH_DEPENDENCY = PYPROJECT.replace("dependencies = []", "dependencies = ['evil']")

BAD = {
    "a module that shadows ours": (built({"client/app.py": "app = 1"}), "client/app.py"),
    "a module that shadows torch": (built({"torch.py": ""}), "torch.py"),
    "a text": (built({"README.md": "hello"}), "README.md"),
    "another app": (built({}, OTHER_APP), "client.other:app"),
    "settings": (built({}, WITH_CONFIG), "sets more"),
    "a dependency": (built({}, WITH_DEPENDENCY), "sets more"),
    "no zip": (b"not a zip", "cannot be read"),
    "one changed byte": (build_bundle().replace(b"fedrounds-app", b"fedrounds-apq"), "read"),
    "cut off": (build_bundle()[:-30], "cannot be read"),
    "no manifest": (zipped((PYPROJECT_NAME, PLAIN)), "two files"),
    "one name twice": (
        zipped((MANIFEST_NAME, b""), (PYPROJECT_NAME, PLAIN), (PYPROJECT_NAME, b"x")),
        "two files",
    ),
    "another place": (zipped((MANIFEST_NAME, b""), (f"../{PYPROJECT_NAME}", PLAIN)), "brings 1"),
    "a bomb": (
        zipped((MANIFEST_NAME, b""), (PYPROJECT_NAME, bytes(10_000_000))),
        "unpacks to more",
    ),
    "a large one": (bytes(100_000), "100000 bytes"),
    "no TOML": (zipped((MANIFEST_NAME, b""), (PYPROJECT_NAME, b"= nothing")), "cannot be read"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD.keys())
def test_any_other_is_refused_and_said_why(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        check_bundle(content)
    assert said in str(caught.value)
    journal = Journal(tmp_path)
    assert not is_approved(content, journal)
    line = json.loads(journal.audit_path.read_text())
    assert line["event"] == "bundle refused"
    assert len(line["sha256"]) == 64
