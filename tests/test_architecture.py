"""The house as it was drawn: who may import whom, and what nobody may call."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
LAYERS = {
    "common": {"common"},
    "client": {"client", "common"},
    "server": {"server", "common"},
    "simulations": {"simulations", "client", "server", "common"},
}
SOURCES = sorted(p for layer in LAYERS for p in (PROJECT / layer).rglob("*.py"))


def imported_roots(path: Path) -> set[str]:
    roots: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            roots.add((node.module or "").split(".")[0])
    return roots


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PROJECT)))
def test_imports_run_one_way(path: Path) -> None:
    layer = path.relative_to(PROJECT).parts[0]
    own = imported_roots(path) & (set(LAYERS) | {"fedrounds", "tests"})
    assert own <= LAYERS[layer]


def test_every_layer_was_walked() -> None:
    assert {p.relative_to(PROJECT).parts[0] for p in SOURCES} == set(LAYERS)
    assert len(SOURCES) > 40


@pytest.mark.parametrize(
    "forbidden",
    [
        r"pickle\.loads?\(",
        r"weights_only *= *False",
        r"allow_pickle *= *True",
        r"yaml\.load\(",
        r"[^.\w]eval\(",
        r"load_checkpoint",
        r"torch\.load\((?![^()]*weights_only=True\))",
    ],
)
def test_nothing_unsafe_is_loaded(forbidden: str) -> None:
    found = [p for p in SOURCES if re.search(forbidden, p.read_text(encoding="utf-8"))]
    assert not found


def test_files_hold_one_concept() -> None:
    long = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


@pytest.mark.parametrize("module", ["server.app", "client.app", "simulations.experiment"])
def test_opacus_is_imported_by_what_trains_with_privacy_alone(module: str) -> None:
    """It takes two seconds: as long as PyTorch itself."""
    code = f"import {module}, sys; sys.exit('opacus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PROJECT).returncode == 0
