"""Keys of sites: registered, replaced, revoked; and sites that join later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from client.site import Site
from common.errors import SettingsError
from common.node_keys import fingerprint, new_key_pair
from server.provision.command import main
from server.provision.consortium import Consortium, only_command
from server.provision.keys import read_public_key
from server.provision.members import revoked_site

MakeKey = Callable[..., Path]


def audit(consortium: Consortium) -> list[tuple[str, str | None]]:
    lines = (consortium.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [(x["event"], x.get("site")) for x in map(json.loads, lines)]


def register(consortium: Consortium, site: str, key: Path, *more: str) -> int:
    return main(["register", str(consortium.folder), site, str(key), *more])


def test_a_registered_key_lets_its_site_in(
    consortium: Consortium, public_key: MakeKey, capsys: pytest.CaptureFixture[str]
) -> None:
    key = public_key()
    assert register(consortium, "north", key) == 0
    assert fingerprint(read_public_key(key)) in capsys.readouterr().out
    keys = consortium.registered_keys()
    assert list(keys) == ["north"]
    assert keys["north"].read_text() == f"{read_public_key(key)} north\n"
    assert "hospital-host" not in keys["north"].read_text()
    assert audit(consortium)[-1] == ("registered", "north")


def test_registering_the_same_key_again_does_nothing(
    consortium: Consortium, public_key: MakeKey
) -> None:
    key = public_key()
    assert register(consortium, "north", key) == 0
    before = audit(consortium)
    assert register(consortium, "north", key) == 0
    assert audit(consortium) == before


def test_a_second_key_needs_replace_and_shuts_the_first_out(
    consortium: Consortium, public_key: MakeKey
) -> None:
    first, second = public_key("1.pub"), public_key("2.pub")
    register(consortium, "north", first)
    with pytest.raises(SettingsError, match=r"north has another key already.*--replace"):
        register(consortium, "north", second)
    assert read_public_key(consortium.registered_keys()["north"]) == read_public_key(first)
    assert register(consortium, "north", second, "--replace") == 0
    assert read_public_key(consortium.registered_keys()["north"]) == read_public_key(second)
    assert audit(consortium)[-2:] == [("replaced", "north"), ("registered", "north")]
    with pytest.raises(SettingsError, match="can never come back"):
        register(consortium, "north", first, "--replace")


def test_a_revoked_key_never_comes_back(consortium: Consortium, public_key: MakeKey) -> None:
    key, fresh = public_key("1.pub"), public_key("2.pub")
    register(consortium, "north", key)
    assert main(["revoke", str(consortium.folder), "north"]) == 0
    assert consortium.registered_keys() == {}
    (revoked,) = consortium.revoked_files()
    assert revoked_site(revoked) == "north"
    assert read_public_key(revoked) == read_public_key(key)
    for site in ("north", "south"):
        with pytest.raises(SettingsError, match="can never come back"):
            register(consortium, site, key, "--replace")
    with pytest.raises(SettingsError, match=r"north was revoked.*--replace"):
        register(consortium, "north", fresh)
    assert register(consortium, "north", fresh, "--replace") == 0
    assert main(["revoke", str(consortium.folder), "north"]) == 0
    assert len(consortium.revoked_files()) == 2


def test_a_key_put_back_by_hand_stays_out(consortium: Consortium, public_key: MakeKey) -> None:
    register(consortium, "north", public_key())
    main(["revoke", str(consortium.folder), "north"])
    shutil.copy(consortium.revoked_files()[0], consortium.key_file("north"))
    assert consortium.registered_keys() == {}


def test_two_sites_cannot_share_a_key(consortium: Consortium, public_key: MakeKey) -> None:
    key = public_key()
    register(consortium, "north", key)
    with pytest.raises(SettingsError, match="is the key of north already"):
        register(consortium, "south", key, "--replace")


def openssh(key: object) -> bytes:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined,no-any-return]


PUBLIC = new_key_pair()[1].encode()
BAD_KEYS = {
    "nothing": (b"", "an empty file"),
    "a private key": (new_key_pair()[0], "this is a PRIVATE key"),
    "a private key after a public one": (PUBLIC + b"\n" + new_key_pair()[0], "PRIVATE key"),
    "a PKCS8 private key": (b"-----BEGIN PRIVATE KEY-----\nMIG\n", "PRIVATE key"),
    "P-256": (openssh(ec.generate_private_key(ec.SECP256R1()).public_key()), "another kind"),
    "P-521": (openssh(ec.generate_private_key(ec.SECP521R1()).public_key()), "another kind"),
    "ed25519": (openssh(ed25519.Ed25519PrivateKey.generate().public_key()), "another kind"),
    "RSA": (openssh(rsa.generate_private_key(65537, 2048).public_key()), "another kind"),
    "PEM": (
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "ssh-keygen -i",
    ),
    "two keys": (PUBLIC + b"\n" + PUBLIC + b"\n", "2 lines"),
    "half a key": (PUBLIC[:100], "1 line that starts"),
    "options": (b'command="x" ' + PUBLIC, "1 line that starts"),
    "a long file": (PUBLIC + b" " + b"x" * 10_000, "more than 4096 bytes"),
    "bytes": (b"\x00\xff\xfe", "1 line that starts"),
    "a point off the curve": (b"ecdsa-sha2-nistp384 " + b"A" * 180, "1 line that starts"),
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_what_is_no_public_key_of_this_kind_is_refused(
    consortium: Consortium, tmp_path: Path, kind: str
) -> None:
    data, expected = BAD_KEYS[kind]
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=expected) as caught:
        register(consortium, "north", path)
    assert consortium.registered_keys() == {}
    body = data.split(b"\n")[1] if b"\n" in data else b""
    assert len(body) < 20 or body.decode(errors="replace") not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["register"], "expected 'provision register COORDINATOR SITE"),
        (["register", "@", "north", "missing.pub"], "missing.pub: expected a public key"),
        (["register", "@", "nort", "@key"], "did you mean 'north'"),
        (["register", "@", "../north", "@key"], "unknown site"),
        (["register", "@", "north", "@key", "--force"], "got"),
        (["register", "/nowhere", "north", "@key"], "expected the coordinator's folder"),
        (["register", "@kit", "north", "@key"], "a site's start-up kit"),
        (["revoke", "@", "north"], "nothing to revoke"),
        (["revoke", "@", "nowhere"], "unknown site"),
        (["revoke", "@"], "expected 'provision revoke COORDINATOR SITE'"),
        (["add", "@"], "expected 'provision add"),
        (["add", "@", "north"], "stands in the list twice"),
        (["add", "@", "North"], "stands in the list twice"),
        (["add", "@", "../x"], "sites: expected names"),
        (["add", "@", "west", "port=1"], "unknown setting 'port'"),
        (["renew"], "expected 'provision renew"),
        (["show", "@", "north"], "expected 'provision show"),
        (["show", "/nowhere"], "expected the coordinator's folder"),
    ],
)
def test_wrong_words_change_nothing(
    consortium: Consortium, public_key: MakeKey, words: list[str], expected: str
) -> None:
    kit = consortium.folder.parent / "kits" / "north"
    places = {"@": str(consortium.folder), "@kit": str(kit), "@key": str(public_key())}
    before = audit(consortium)
    with pytest.raises(SettingsError, match=expected.replace("(", r"\(")):
        main([places.get(word, word) for word in words])
    assert audit(consortium) == before
    assert consortium.registered_keys() == {}
    assert Consortium.open(consortium.folder) == consortium


def test_a_site_that_joins_later_gets_a_kit(consortium: Consortium, public_key: MakeKey) -> None:
    assert main(["add", str(consortium.folder), "west"]) == 0
    kits = consortium.folder.parent / "kits"
    assert Site.open(kits / "west").name == "west"
    assert {p.name for p in kits.iterdir()} == {
        *("north", "north.zip", "south", "south.zip", "west", "west.zip")
    }
    again = Consortium.open(consortium.folder)
    assert again.sites == ("north", "south", "west")
    assert register(again, "west", public_key()) == 0
    assert ("added", "west") in audit(again)
    assert not list(kits.glob(".*"))


def test_a_kit_can_be_written_elsewhere_with_a_key(consortium: Consortium, tmp_path: Path) -> None:
    words = ["add", str(consortium.folder), "west", f"output_dir={tmp_path / 'out' / 'kits'}"]
    assert main([*words, "central_keys=true", "zip=false"]) == 0
    assert (tmp_path / "out" / "kits" / "west" / "node.key").stat().st_mode & 0o777 == 0o600
    assert list(Consortium.open(consortium.folder).registered_keys()) == ["west"]


def test_an_addition_that_fails_leaves_nothing(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.provision.members.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        main(["add", str(consortium.folder), "west"])
    kits = consortium.folder.parent / "kits"
    assert {p.name for p in kits.iterdir()} == {"north", "north.zip", "south", "south.zip"}
    assert Consortium.open(consortium.folder) == consortium


def test_an_existing_kit_is_not_written_over(consortium: Consortium) -> None:
    kit = consortium.folder.parent / "kits" / "west"
    kit.mkdir()
    (kit / "site.yaml").write_text("mine")
    with pytest.raises(SettingsError, match="nothing was written over"):
        main(["add", str(consortium.folder), "west"])
    assert (kit / "site.yaml").read_text() == "mine"


def test_a_folder_is_changed_by_one_command_at_a_time(
    consortium: Consortium, public_key: MakeKey
) -> None:
    with only_command(consortium.folder), pytest.raises(SettingsError, match="runs already"):
        register(consortium, "north", public_key())
    assert register(consortium, "north", public_key()) == 0


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", tmp_path / "k"],
        check=True,
    )
    listed = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "k.pub"], capture_output=True, text=True, check=True
    )
    assert fingerprint(read_public_key(tmp_path / "k.pub")) == listed.stdout.split()[1]


def test_the_audit_log_says_who(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr("common.journal.getpass.getuser", nameless)
    main(["renew", str(consortium.folder)])
    last = json.loads((consortium.folder / "audit.jsonl").read_text().splitlines()[-1])
    assert last["by"] == str(os.getuid())
    assert set(last) == {"time", "event", "by", "certificate", "until"}
