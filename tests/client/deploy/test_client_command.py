"""``fedrounds client``: what it does without a server."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import fedrounds
from client.deploy.keys import key_fingerprint
from client.deploy.refusals import refusal
from client.deploy.serve import prepare
from client.site import Site
from common.errors import SettingsError
from common.journal import read_lines
from common.node_keys import fingerprint
from common.processes import free_port
from server.provision.keys import read_public_key
from tests.conftest import train_ids


@pytest.fixture
def kit(make_site: Callable[..., Site], tmp_path: Path) -> Path:
    """A start-up kit that was filled in, of a server that does not run."""
    site = make_site(dict.fromkeys(train_ids(4), 1))
    facts = {"name": "c", "host": "127.0.0.1", "port": free_port(), "site": site.name}
    (site.folder / "consortium.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
    other = tmp_path / "other"
    words = ["sites=[a]", "host=127.0.0.1", f"output_dir={other}", "zip=false"]
    assert fedrounds.main(["provision", *words]) == 0
    (site.folder / "ca.crt").write_bytes((other / "kits" / "a" / "ca.crt").read_bytes())
    return site.folder


def test_init_makes_a_key_once(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert fedrounds.main(["client", "init", str(kit)]) == 0
    said = capsys.readouterr().out
    line = read_public_key(kit / "node.pub")  # as the coordinator reads it
    assert line in said
    assert fingerprint(line) in said
    assert key_fingerprint(kit) == fingerprint(line)
    assert stat.S_IMODE((kit / "node.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in said
    before = (kit / "node.key").read_bytes()
    assert fedrounds.main(["client", "init", str(kit)]) == 2
    assert (kit / "node.key").read_bytes() == before


def test_a_key_that_others_can_read_is_refused(kit: Path) -> None:
    fedrounds.main(["client", "init", str(kit)])
    (kit / "node.key").chmod(0o640)
    with pytest.raises(SettingsError, match="others can read it"):
        prepare(kit)


def test_a_start_needs_key_name_and_certificate(kit: Path) -> None:
    with pytest.raises(SettingsError, match="client init"):
        prepare(kit)
    fedrounds.main(["client", "init", str(kit)])
    prepare(kit)
    facts = yaml.safe_load((kit / "consortium.yaml").read_text())
    (kit / "consortium.yaml").write_text(yaml.safe_dump({**facts, "site": "other"}))
    with pytest.raises(SettingsError, match="expected 'other'"):
        prepare(kit)
    (kit / "consortium.yaml").write_text(yaml.safe_dump({**facts, "aprove": "ask"}))
    with pytest.raises(SettingsError, match="did you mean 'approve'"):
        prepare(kit)


def test_pause_leave_and_resume_are_files_and_audit_lines(kit: Path) -> None:
    fedrounds.main(["client", "init", str(kit)])
    assert fedrounds.main(["client", "resume", str(kit)]) == 2
    assert fedrounds.main(["client", "pause", str(kit)]) == 0
    assert (kit / "paused").exists()
    assert fedrounds.main(["client", "leave", str(kit)]) == 0
    assert fedrounds.main(["client", str(kit)]) == 2  # a site that left does not start
    assert fedrounds.main(["client", "resume", str(kit)]) == 0
    assert not (kit / "paused").exists()
    assert not (kit / "left").exists()
    events = [line["event"] for line in read_lines(kit / "audit.jsonl")]
    assert events == ["key made", "paused asked", "left asked", "resume asked"]


def test_the_check_names_each_thing(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fedrounds.main(["client", str(kit), "--check"]) == 1
    fedrounds.main(["client", "init", str(kit)])
    capsys.readouterr()
    assert fedrounds.main(["client", str(kit), "--check"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    for name in ("consortium", "settings", "key", "disk", "ledger", "data"):
        assert lines[name].startswith("ok"), lines[name]
    assert lines["server"].startswith("skipped")
    site = yaml.safe_load((kit / "site.yaml").read_text())
    (Path(site["data"]["root"]) / "metadata.csv").unlink()
    assert fedrounds.main(["client", str(kit), "--check"]) == 1
    assert "data" in capsys.readouterr().out


def test_wrong_words_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert fedrounds.main(["client"]) == 2
    assert fedrounds.main(["client", "puase", "x"]) == 2
    assert "did you mean 'pause'" in capsys.readouterr().err
    assert fedrounds.main(["client", "approve", "x"]) == 2


@pytest.mark.parametrize(
    ("words", "connected", "late", "said"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: x", False, False, "this kit"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", False, False, "does not speak TLS"),
        ("[code: 2004] Failed to activate SuperNode.", False, False, "knows no site"),
        ("[code: 2004] Failed to activate SuperNode.", False, True, ""),
        ("SuperNode terminated gracefully.", False, False, "signature"),
        ("SuperNode terminated gracefully.", True, False, ""),
        ("Traceback", False, False, ""),
    ],
)
def test_what_a_supernodes_last_words_mean(
    words: str, connected: bool, late: bool, said: str
) -> None:
    found = refusal(words, "host:1", "SHA256:x", connected=connected, late=late)
    assert (said in found) if said else not found


def test_a_site_yaml_that_is_no_utf_8_is_named(kit: Path) -> None:
    (kit / "site.yaml").write_bytes("name: Zürich".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"site\.yaml: expected YAML"):
        Site.open(kit)
    with pytest.raises(SettingsError, match=r"site\.yaml: expected YAML"):
        prepare(kit)
