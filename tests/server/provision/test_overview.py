"""``fedrounds provision show``: states, ends, and what it warns of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from common.errors import SettingsError
from server.provision.command import main
from server.provision.consortium import Consortium
from server.provision.overview import overview
from server.provision.renew import renew
from tests.server.provision.conftest import NOW


def warnings(consortium: Consortium, days: int = 0) -> str:
    return "\n".join(overview(consortium, NOW + timedelta(days=days)).warnings)


def test_show_prints_sites_keys_and_ends(
    consortium: Consortium,
    public_key: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = str(consortium.folder)
    main(["register", folder, "north", str(public_key())])
    main(["revoke", folder, "north"])
    main(["register", folder, "south", str(public_key())])
    capsys.readouterr()
    assert main(["show", folder]) == 0
    text = capsys.readouterr().out
    assert "fl.example.org:8443" in text
    assert "PRIVATE" not in text
    assert main(["show", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert [(s["name"], s["state"]) for s in found["sites"]] == [
        ("north", "revoked"),
        ("south", "registered"),
    ]
    north, south = found["sites"]
    assert north["fingerprint"] is None
    assert north["revoked"][0].startswith("SHA256:")
    assert south["fingerprint"] in text
    assert [c["file"] for c in found["certificates"]] == ["ca.crt", "server.crt", "superlink.crt"]


def test_a_fresh_consortium_waits_for_keys_alone(consortium: Consortium) -> None:
    assert overview(consortium, NOW).warnings == (
        "north: has no registered key yet",
        "south: has no registered key yet",
    )
    assert {s.state for s in overview(consortium, NOW).sites} == {"waiting"}


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (334, []),
        (336, ["server.crt: ends on 2027-03-01; 'fedrounds provision renew"]),
        (366, ["server.crt: ended on 2027-03-01", "superlink.crt: ended"]),
        (3640, ["ca.crt: ends on 2036-02-27; a new consortium"]),
    ],
)
def test_certificates_that_end_soon_are_named(
    consortium: Consortium, days: int, expected: list[str]
) -> None:
    text = warnings(consortium, days)
    assert all(line in text for line in expected)
    assert bool(expected) == (".crt: end" in text)
    left = overview(consortium, NOW + timedelta(days=days)).certificates[1].days_left
    assert left == 365 - days


def test_what_does_not_fit_is_named(consortium: Consortium) -> None:
    folder = consortium.folder
    consortium.server_key.write_bytes(consortium.superlink_key.read_bytes())
    consortium.ca_key.chmod(0o640)
    (folder / "keys" / "stranger.pub").write_text("x")
    facts = yaml.safe_load((folder / "consortium.yaml").read_text())
    (folder / "consortium.yaml").write_text(yaml.safe_dump({**facts, "host": "new.example.org"}))
    text = warnings(Consortium.open(folder))
    assert "server.crt: is not the certificate of server.key" in text
    assert "ca.key: can be read by others" in text
    assert "keys/stranger.pub: of no site" in text
    assert "server.crt: does not name new.example.org" in text


def test_a_renewal_takes_up_a_new_host(consortium: Consortium) -> None:
    path = consortium.folder / "consortium.yaml"
    facts = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**facts, "host": "new.example.org"}))
    renew(consortium.folder, 365, NOW)
    assert "does not name" not in warnings(Consortium.open(consortium.folder))


def test_a_ca_that_was_exchanged_is_named(consortium: Consortium, tmp_path: Path) -> None:
    main(["sites=[x]", "host=fl.example.org", f"output_dir={tmp_path / 'other'}", "zip=false"])
    other = Consortium.open(tmp_path / "other" / "coordinator")
    consortium.ca_certificate.write_bytes(other.ca_certificate.read_bytes())
    assert "server.crt: was not signed by ca.crt" in warnings(consortium)


def test_a_ca_key_kept_elsewhere_is_no_fault(consortium: Consortium) -> None:
    consortium.ca_key.unlink()
    assert "ca.key" not in warnings(consortium)


def test_a_damaged_key_or_certificate_is_an_error(consortium: Consortium) -> None:
    consortium.key_file("north").write_text("nonsense")
    with pytest.raises(SettingsError, match=r"north\.pub: expected one line"):
        main(["show", str(consortium.folder)])
    consortium.key_file("north").unlink()
    consortium.server_certificate.write_text("nonsense")
    with pytest.raises(SettingsError, match=r"server\.crt: expected a PEM certificate"):
        main(["show", str(consortium.folder)])
