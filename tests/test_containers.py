"""The Dockerfile and the Compose files, by linters: no Docker is needed, and none is tried."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

FOLDER = PROJECT / "docs" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"
COMPOSE = sorted(FOLDER.glob("*.yaml"))


def lint(tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a linter of the ``dev`` extra, or skip where its wheel does not exist."""
    found = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool}")
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


def test_hadolint_accepts_the_dockerfile(tmp_path: Path) -> None:
    done = lint("hadolint", str(DOCKERFILE))
    assert (done.returncode, done.stdout) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text().replace(":3.11.13-slim-bookworm", ":latest"))
    assert lint("hadolint", str(worse)).returncode == 1


def test_compose_files_follow_the_specification(tmp_path: Path) -> None:
    words = ["--builtin-schema", "vendor.compose-spec"]
    done = lint("check-jsonschema", *words, *map(str, COMPOSE))
    assert done.returncode == 0, done.stdout
    worse = tmp_path / "worse.yaml"
    worse.write_text(COMPOSE[0].read_text().replace("cap_drop", "cap_dorp"))
    assert lint("check-jsonschema", *words, str(worse)).returncode == 1


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile, by its name."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)[1:]
    return {parts[i + 1]: f"FROM {parts[i]}\n{parts[i + 2]}" for i in range(0, len(parts), 3)}


def test_bases_are_pinned_and_no_image_runs_as_root() -> None:
    found = stages()
    assert set(found) == {"build", "package", "client", "server"}
    bases = {text.split()[1] for text in found.values()} - set(found)
    assert bases
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
    for side in ("client", "server"):
        lines = found[side].splitlines()
        user = lines.index("USER 10001")
        assert not [line for line in lines[user:] if line.startswith("RUN")]
        assert any(line.startswith("HEALTHCHECK") for line in lines[user:])
        assert f'ENTRYPOINT ["fedrounds", "{side}"]' in lines[user:]


def test_only_the_package_goes_into_an_image() -> None:
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    taken = {line[1:] for line in ignore if line.startswith("!")}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {pattern.rstrip("*") for pattern in patterns}
    assert "*" in ignore
    assert taken == packages | {"fedrounds.py", "pyproject.toml", "README.md", "LICENSE"}
    assert not re.search(r"(?i)(ARG|ENV) \w*(KEY|SECRET|PASSWORD|TOKEN)", DOCKERFILE.read_text())


def service(side: str) -> dict[str, Any]:
    values = yaml.safe_load((FOLDER / f"{side}.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = values["services"][side]
    return found


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_container_is_confined_and_keeps_no_secret_of_its_own(side: str) -> None:
    found = service(side)
    assert found["read_only"]
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "environment" not in found
    assert found["build"]["target"] == side
    assert (FOLDER / found["build"]["context"] / found["build"]["dockerfile"]).is_file()


def test_a_sites_images_are_mounted_read_only_and_its_port_is_closed() -> None:
    volumes = {v["target"]: v.get("read_only", False) for v in service("client")["volumes"]}
    assert volumes == {"/site": False, "/images": True}
    assert "ports" not in service("client")
    assert service("server")["ports"] == ["8443:8443"]
