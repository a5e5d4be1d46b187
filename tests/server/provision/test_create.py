"""``fedrounds provision sites=[…]``: what it writes, with which modes; or it writes nothing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from client.deploy.consortium import Membership, ca_certificate
from client.deploy.keys import key_fingerprint
from client.site import Site, SiteSettings
from common.errors import SettingsError
from common.node_keys import NODE_KEY, NODE_PUBLIC_KEY, fingerprint
from common.schema import build
from server.provision.command import help_text, main
from server.provision.consortium import Consortium
from server.provision.create import create
from server.provision.keys import read_public_key
from server.provision.settings import ProvisionSettings, parse_words
from tests.server.provision.conftest import NOW


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_private_files_are_their_owners_alone_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        if umask == 0o777:  # the parent must be enterable; what is made in it sets its own mode
            (tmp_path / "out").mkdir()
            (tmp_path / "out").chmod(0o700)
        settings = ProvisionSettings(
            sites=("a",), host="h.org", output_dir=str(tmp_path / "out"), central_keys=True
        )
        made = create(settings, NOW).folder
    finally:
        os.umask(before)
    keys = [*made.glob("*.key"), made.parent / "kits" / "a" / NODE_KEY]
    assert len(keys) == 4
    private = [*keys, made / "audit.jsonl", made.parent / "kits" / "a.zip"]
    assert {mode(path) for path in private} == {0o600}
    folders = [p for p in (made.parent, *made.parent.rglob("*")) if p.is_dir()]
    assert {mode(path) for path in folders} == {0o700}


def test_the_layout_is_complete(consortium: Consortium) -> None:
    root = consortium.folder.parent
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    coordinator = {
        *("README.md", "audit.jsonl", "ca.crt", "ca.key", "consortium.yaml", "nginx.conf"),
        *("fedrounds-server.service", "server.crt", "server.key"),
        *("superlink.crt", "superlink.key"),
    }
    kit = {"README.md", "ca.crt", "consortium.yaml", "fedrounds-client.service", "site.yaml"}
    assert found == {f"coordinator/{name}" for name in coordinator} | {
        path
        for site in ("north", "south")
        for path in {f"kits/{site}.zip", *(f"kits/{site}/{name}" for name in kit)}
    }
    assert (consortium.folder / "keys").is_dir()
    assert (consortium.folder / "revoked").is_dir()


def test_no_secret_leaves_the_coordinators_folder(consortium: Consortium) -> None:
    secrets = [path.read_bytes() for path in consortium.folder.glob("*.key")]
    assert len(secrets) == 3
    for path in consortium.folder.parent.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            assert b"PRIVATE KEY" not in path.read_bytes(), path
    for packed in (consortium.folder.parent / "kits").glob("*.zip"):
        with zipfile.ZipFile(packed) as archive:
            assert not [n for n in archive.namelist() if b"PRIVATE KEY" in archive.read(n)]


def test_the_zip_holds_the_kit(consortium: Consortium, tmp_path: Path) -> None:
    kits = consortium.folder.parent / "kits"
    with zipfile.ZipFile(kits / "north.zip") as archive:
        archive.extractall(tmp_path / "at-the-site")
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in archive.infolist()}
    for path in (kits / "north").iterdir():
        assert (tmp_path / "at-the-site" / "north" / path.name).read_bytes() == path.read_bytes()
        assert modes[f"north/{path.name}"] == mode(path)


@pytest.mark.parametrize("site", ["a", "007", "no", "1.10", "null", "1e5", "A.b_c-d", "0x1f"])
def test_the_kits_site_yaml_is_complete_and_right(tmp_path: Path, site: str) -> None:
    output = tmp_path / "out"
    assert main([f"sites=[{site},other]", "host=h.org", f"output_dir={output}"]) == 0
    kit = output / "kits" / site
    opened = Site.open(kit)
    assert opened.name == site
    assert opened.settings.policy.release_metrics == "none"
    values = yaml.safe_load((kit / "site.yaml").read_text(encoding="utf-8"))
    settings = build(SiteSettings, values)
    assert set(values) == set(SiteSettings.__dataclass_fields__)
    for part in ("data", "policy"):
        assert set(values[part]) == set(getattr(settings, part).__dataclass_fields__), part
    membership = Membership.open(kit)
    assert membership == Membership("consortium", "h.org", 8443, site)
    assert ca_certificate(kit).read_bytes() == (output / "coordinator" / "ca.crt").read_bytes()
    assert Consortium.open(output / "coordinator").sites == (site, "other")


def test_central_keys_come_with_a_warning_and_an_audit_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = ["sites=[a,b]", "host=h.org", f"output_dir={output}", "central_keys=true", "zip=false"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "warning: the sites' private keys were made here" in printed.err
    assert "PRIVATE KEY" not in printed.out + printed.err
    made = Consortium.open(output / "coordinator")
    keys = made.registered_keys()
    assert set(keys) == {"a", "b"}
    audit = [json.loads(line) for line in (made.folder / "audit.jsonl").read_text().splitlines()]
    central = {x["site"]: x["fingerprint"] for x in audit if x.get("made_centrally")}
    for site, path in keys.items():
        kit = output / "kits" / site
        assert central[site] == fingerprint(read_public_key(path))
        assert read_public_key(path) == read_public_key(kit / NODE_PUBLIC_KEY)
        listed = subprocess.run(
            ["ssh-keygen", "-lf", kit / NODE_KEY], capture_output=True, text=True, check=True
        )
        assert central[site] in listed.stdout
        assert key_fingerprint(kit) == central[site]
        assert "made by the coordinator" in (kit / "README.md").read_text(encoding="utf-8")
    assert not list((output / "kits").glob("*.zip"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["host=h.org"], "'sites' must be given"),
        (["sites=[a]"], "'host' must be given"),
        (["sites=[]", "host=h.org"], "at least one"),
        (["sites=[a,a]", "host=h.org"], "'a' stands in the list twice"),
        (["sites=[a,A]", "host=h.org"], "'A' stands in the list twice"),
        (["sites=[a,../b]", "host=h.org"], "got '../b'"),
        (["sites=[a,,b]", "host=h.org"], "got ''"),
        (["sites=[.a]", "host=h.org"], "got '.a'"),
        (["sites=[a,a.zip]", "host=h.org"], "one file for both"),
        ([f"sites=[{'x' * 65}]", "host=h.org"], "at most 64"),
        (["sites=[a]", "host="], "host: expected a DNS name"),
        (["sites=[a]", "host=https://h.org"], "without scheme"),
        (["sites=[a]", "host=h.org:8443"], "got 'h.org:8443'"),
        (["sites=[a]", "host=h.org;return 200"], "host: expected"),
        (["sites=[a]", "host=h_x.org"], "host: expected"),
        (["sites=[a]", "host=-h.org"], "host: expected"),
        (["sites=[a]", "host=h.org\n"], "host: expected"),
        (["sites=[a]", "host=10.0.0.300"], "host: expected"),
        (["sites=[a]", "host=0.0.0.0"], "can connect to"),
        (["sites=[a]", "host=::"], "can connect to"),
        (["sites=[a]", "host=fe80::1%eth0"], "can connect to"),
        (["sites=[a]", "host=*.h.org"], "host: expected"),
        (["sites=[a]", "host=h.org", "port=0"], "port: expected 1 to 65535, got 0"),
        (["sites=[a]", "host=h.org", "port=x"], "port: expected a whole number, got 'x'"),
        (["sites=[a]", "host=h.org", "port=8000"], "both 8000"),
        (["sites=[a]", "host=h.org", "superlink_port=70000"], "superlink_port: expected"),
        (["sites=[a]", "host=h.org", "days=0"], "days: expected 1 to 3650"),
        (["sites=[a]", "host=h.org", "days=4000"], "days: expected 1 to 3650"),
        (["sites=[a]", "host=h.org", "zip=maybe"], "zip: expected true or false"),
        (["sites=[a]", "host=h.org", "name=a b\nc"], "name: expected"),
        (["sites=[a]", "host=h.org", "name=${x}"], "name: expected"),
        (["sites=[a]", "host=h.org", "hots=h"], "did you mean 'host'"),
        (["sites=[a]", "host=h.org", "host=g.org"], "host: given twice"),
        (["sites=[a,", "b]", "host=h.org"], "expected KEY=VALUE, without spaces, got 'b]'"),
        (["sites=[a]", "host=h.org", "output_dir="], "output_dir: expected"),
        (["regster", "x"], "did you mean 'register'"),
        ([], "expected sites="),
    ],
)
def test_wrong_words_are_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught:
        main(words)
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        main(["sites=[a,a,..]", "host=h:1", "port=0", "days=0", f"output_dir={tmp_path / 'x'}"])
    assert len(caught.value.problems) == 5


def test_what_exists_is_not_written_over(consortium: Consortium) -> None:
    key = consortium.ca_key.read_bytes()
    with pytest.raises(SettingsError, match="exists; nothing was written over"):
        main(["sites=[a]", "host=h.org", f"output_dir={consortium.folder.parent}"])
    assert consortium.ca_key.read_bytes() == key


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.provision.kit.zipfile.ZipFile", full)
    with pytest.raises(OSError, match="No space left"):
        main(["sites=[a]", "host=h.org", f"output_dir={tmp_path / 'deep' / 'out'}"])
    assert [p for p in tmp_path.rglob("*") if p.name != "deep"] == []


def test_the_folder_may_be_moved(consortium: Consortium, tmp_path: Path) -> None:
    moved = consortium.folder.rename(tmp_path / "elsewhere")
    again = Consortium.open(moved)
    assert again.certificate_expiry() == NOW + timedelta(days=365)
    assert again.nginx_command()[2] == f"{moved}/"
    assert str(consortium.folder) not in again.nginx_conf.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"host": "a; return 200"}, "host: expected"),
        ({"port": 8000}, "both 8000"),
        ({"sites": {"../x": {"added": "now"}}}, "sites: expected"),
        ({"hosst": "x"}, "did you mean 'host'"),
        ({"port": "many"}, "a whole number"),
        ({"site": "a"}, "a site's start-up kit"),
    ],
)
def test_a_folder_that_was_edited_wrongly_is_refused(
    consortium: Consortium, change: dict[str, object], expected: str
) -> None:
    path = consortium.folder / "consortium.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(SettingsError, match=expected):
        Consortium.open(consortium.folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"- a", b"", None])
def test_a_folder_that_is_none_is_refused(consortium: Consortium, text: bytes | None) -> None:
    path = consortium.folder / "consortium.yaml"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    with pytest.raises(SettingsError):
        Consortium.open(consortium.folder)


def test_ipv6_hosts_are_bracketed_where_a_port_follows(tmp_path: Path) -> None:
    settings = ProvisionSettings(
        sites=("a",), host="2001:db8::1", output_dir=str(tmp_path / "out"), zip=False
    )
    made = create(settings, NOW)
    assert made.address == "[2001:db8::1]:8443"
    assert "listen [::]:8443 ssl;" in made.nginx_conf.read_text(encoding="utf-8")


def test_words_are_read_by_their_fields_type() -> None:
    found = parse_words(ProvisionSettings, ["sites=[007, no]", "host=10.0.0.1", "zip=False"])
    assert (found.sites, found.host, found.zip) == (("007", "no"), "10.0.0.1", False)
    assert parse_words(ProvisionSettings, ["sites=one", "host=h"]).sites == ("one",)


def test_the_help_names_every_setting() -> None:
    for name in ProvisionSettings.__dataclass_fields__:
        assert f"{name}=" in help_text()


def test_nothing_generated_has_a_blank_left(consortium: Consortium) -> None:
    for path in consortium.folder.parent.rglob("*"):
        if path.suffix in (".conf", ".service", ".md", ".yaml"):
            text = path.read_text(encoding="utf-8")
            assert "{{" not in text, path
            assert "}}" not in text, path
