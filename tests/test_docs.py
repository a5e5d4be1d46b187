"""Every command in the README and the docs runs, with fast overrides, or says why it does not."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import fedrounds
from client.site import SiteSettings
from common.schema import build
from tests.conftest import FAST, PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")])
BLOCK = re.compile(r"(?P<mark><!-- not run: (?P<why>.+?) -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["why"]:
                continue
            text = re.sub(r"\\\n\s*", "", block["text"])
            for line in text.splitlines():
                if line.strip():
                    yield page.name, line.split(" #")[0].strip()


COMMANDS = list(commands())


def test_commands_were_found_in_the_readme() -> None:
    assert sum(page == "README.md" for page, _ in COMMANDS) >= 5
    assert all(line.startswith("fedrounds ") for _, line in COMMANDS)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda text: text[:60])
def test_a_documented_command_runs(
    page: str,
    line: str,
    hospitals: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "$FEDROUNDS_DATA" in line:
        monkeypatch.setenv("FEDROUNDS_DATA", str(request.getfixturevalue("real_images")))
    words = shlex.split(os.path.expandvars(line))[1:]
    if words[0] in ("simulate", "budget", "audit") and "--help" not in words:
        words = [word for word in words if not word.startswith("output_dir=")]
        words += [f"output_dir={tmp_path / 'run'}"]
    if words[0] == "simulate" and "--help" not in words:
        words += ["engine.workers=1", *FAST]
        if not any(word.startswith("data.root=") for word in words):
            words += [f"data.root={hospitals}"]
    assert fedrounds.main(words) == 0, line


def test_the_documented_site_yaml_is_complete_and_right() -> None:
    text = (PROJECT / "docs" / "site.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    values = yaml.safe_load(block[1])
    settings = build(SiteSettings, values)
    for part in ("data", "policy"):
        documented = set(values[part])
        assert documented == set(getattr(settings, part).__dataclass_fields__), part
    assert set(values) == set(SiteSettings.__dataclass_fields__)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    for named in re.findall(r"`((?:common|client|server|simulations|tests)/[\w/]+\.py)`", text):
        assert (PROJECT / named).is_file(), named
