"""Mutual TLS: sites' certificates, and nginx between a forwarder and a stand-in SuperLink."""

from __future__ import annotations

import http.client
import signal
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import fedrounds
from client.deploy.certificate import read_node_certificate, tls_context
from client.deploy.consortium import Membership
from client.deploy.forwarder import Forwarder
from client.deploy.keys import key_fingerprint, make_key
from common.errors import SettingsError
from common.journal import Journal, read_lines
from common.node_keys import fingerprint, new_key_pair
from common.processes import free_port
from server.provision.consortium import Consortium, read_certificate, utc_now
from server.provision.create import create
from server.provision.keys import read_public_key
from server.provision.members import add, register, revoke
from server.provision.mutual import certify, write_admitted
from server.provision.overview import overview
from server.provision.renew import renew
from server.provision.settings import AddSettings, ProvisionSettings
from tests.server.provision.conftest import NOW
from tests.server.provision.proxied import FLEET, MEGABYTE, SuperLink, needs_nginx, nginx

Make = Callable[..., Consortium]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A consortium on this machine with mutual TLS and sites ``a`` and ``b``."""

    def made(name: str = "made") -> Consortium:
        settings = ProvisionSettings(
            sites=("a", "b"), host="127.0.0.1", port=free_port(), superlink_port=free_port(),
            output_dir=str(tmp_path / name), mutual_tls=True, zip=False,
        )  # fmt: skip
        return create(settings, utc_now())

    return made


def join(consortium: Consortium, site: str, *, new_key: bool = False) -> Path:
    """A site makes its key, and gets its certificate back."""
    kit = consortium.folder.parent / "kits" / site
    make_key(kit, site)
    register(consortium.folder, site, kit / "node.pub", utc_now(), new_key=new_key)
    (kit / "node.crt").write_bytes(consortium.site_certificate(site).read_bytes())
    return kit


@pytest.fixture
def running(make: Make) -> Iterator[tuple[Consortium, subprocess.Popen[bytes]]]:
    made = make()
    superlink = SuperLink()
    certificate, key = made.superlink_certificate, made.superlink_key
    join(made, "a")
    join(made, "b")
    with superlink.serving(certificate, key, made.superlink_port), nginx(made) as process:
        yield made, process


def ask(context: ssl.SSLContext, port: int, body: bytes = b"12345") -> int:
    with closing(
        http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    ) as connection:
        connection.request("POST", FLEET, body=body)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def direct(consortium: Consortium, kit: Path) -> int:
    return ask(tls_context(kit, Membership.open(kit)), consortium.port)


@needs_nginx
@pytest.mark.integration
def test_only_a_registered_keys_certificate_passes_nginx(
    running: tuple[Consortium, subprocess.Popen[bytes]], make: Make
) -> None:
    consortium, process = running
    a, b = (consortium.folder.parent / "kits" / site for site in "ab")
    assert (direct(consortium, a), direct(consortium, b)) == (200, 200)

    without = ssl.create_default_context(cafile=str(a / "ca.crt"))
    assert ask(without, consortium.port) == 401
    other = make("other")
    stranger = join(other, "a")
    (stranger / "ca.crt").write_bytes((a / "ca.crt").read_bytes())
    assert direct(consortium, stranger) == 401
    (stranger / "node.key").write_bytes((a / "node.key").read_bytes())
    forged = certify(other, "a", read_public_key(a / "node.pub"), utc_now(), 1)
    (stranger / "node.crt").write_bytes(forged.read_bytes())
    assert read_node_certificate(stranger).subject == read_node_certificate(a).subject
    assert direct(consortium, stranger) == 401  # the right name and key, from another CA
    servers = ssl.create_default_context(cafile=str(a / "ca.crt"))
    servers.load_cert_chain(consortium.server_certificate, consortium.server_key)
    assert ask(servers, consortium.port) == 401  # of the CA, but no client's

    revoke(consortium.folder, "b", utc_now())
    process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while direct(consortium, b) != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert direct(consortium, a) == 200


@needs_nginx
@pytest.mark.integration
def test_every_fingerprint_is_read_alike_by_nginx_and_by_us(make: Make) -> None:
    """Fingerprints hold + and /, of which + is escaped in a certificate's name."""
    made = make()
    superlink = SuperLink()
    while True:
        kit = join(made, "a", new_key=True)
        if "+" in key_fingerprint(kit):
            break
        (kit / "node.key").unlink()
        (kit / "node.pub").unlink()
    with (
        superlink.serving(made.superlink_certificate, made.superlink_key, made.superlink_port),
        nginx(made),
    ):
        assert direct(made, kit) == 200


@needs_nginx
@pytest.mark.integration
def test_the_forwarder_carries_a_supernodes_calls_and_shows_the_certificate(
    running: tuple[Consortium, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    consortium, _ = running
    kit = consortium.folder.parent / "kits" / "a"
    before = set(kit.iterdir())
    with closing(Forwarder(kit, Membership.open(kit), Journal(tmp_path))) as forwarder:
        assert set(kit.iterdir()) - before == {kit / "flower"}  # no copy of a key is left
        inner = ssl.create_default_context(cafile=str(forwarder.certificate))
        port = int(forwarder.address.rpartition(":")[2])
        assert ask(inner, port) == 200
        assert ask(inner, port, bytes(32 * MEGABYTE)) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(ssl.create_default_context(cafile=str(kit / "ca.crt")), port)
    with pytest.raises(ConnectionRefusedError):
        ask(inner, port)
    line = read_lines(consortium.folder / "proxy" / "access.jsonl")[0]
    assert key_fingerprint(kit).replace("+", "\\+") in line["certificate"]


@needs_nginx
@pytest.mark.integration
def test_the_forwarder_refuses_a_server_of_another_ca_or_name(
    running: tuple[Consortium, subprocess.Popen[bytes]], make: Make, tmp_path: Path
) -> None:
    consortium, _ = running
    foreign = join(make("other"), "a")
    kit = consortium.folder.parent / "kits" / "a"
    here = replace(Membership.open(kit), port=consortium.port)
    for folder, membership, said in (
        (foreign, here, "CERTIFICATE_VERIFY_FAILED"),
        (kit, replace(here, host="127.0.0.2"), "Connect call failed|CERTIFICATE_VERIFY_FAILED"),
    ):
        with closing(Forwarder(folder, membership, Journal(tmp_path))) as forwarder:
            inner = ssl.create_default_context(cafile=str(forwarder.certificate))
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(inner, int(forwarder.address.rpartition(":")[2]))
            assert any(word in forwarder.failure for word in said.split("|"))


def test_the_certificate_is_a_clients_of_that_key_for_its_days(make: Make) -> None:
    made = make()
    kit = join(made, "a")
    authority = read_certificate(made.ca_certificate)
    certificate = read_node_certificate(kit)
    certificate.verify_directly_issued_by(authority)
    words = ["openssl", "verify", "-purpose", "sslclient", "-x509_strict", "-CAfile"]
    done = subprocess.run(
        [*words, str(made.ca_certificate), str(kit / "node.crt")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert key_fingerprint(kit) in {str(name.value) for name in certificate.subject}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    left = certificate.not_valid_after_utc - utc_now()
    assert timedelta(days=364) < left <= timedelta(days=365)


def test_what_a_site_cannot_use_is_named(make: Make) -> None:
    made = make()
    kit = made.folder.parent / "kits" / "a"
    make_key(kit, "a")
    with pytest.raises(SettingsError, match="coordinator makes when it registers"):
        tls_context(kit, Membership.open(kit))
    b = join(made, "b")
    (kit / "node.crt").write_bytes((b / "node.crt").read_bytes())
    with pytest.raises(SettingsError, match=r"another key than node\.key"):
        tls_context(kit, Membership.open(kit))
    register(made.folder, "a", kit / "node.pub", NOW - timedelta(days=500), new_key=False)
    (kit / "node.crt").write_bytes(made.site_certificate("a").read_bytes())
    with pytest.raises(SettingsError, match="ended on"):
        tls_context(kit, Membership.open(kit))
    (kit / "node.crt").write_text("nonsense")
    with pytest.raises(SettingsError, match="expected a PEM certificate"):
        tls_context(kit, Membership.open(kit))


def test_renewal_makes_sites_certificates_of_the_same_name(make: Make) -> None:
    made = make()
    kit = join(made, "a")
    admitted = made.admitted.read_text()
    assert admitted.count("CN=SHA256:") == 1
    before = read_node_certificate(kit)
    renew(made.folder, 700, utc_now())
    after = read_certificate(made.site_certificate("a"))
    assert after.public_key() == before.public_key()
    assert after.subject == before.subject  # so that the old one is let in until it ends
    assert after.serial_number != before.serial_number
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert not made.site_certificate("b").exists()
    assert made.admitted.read_text() == admitted
    assert "a.crt" in [c.file for c in overview(made, utc_now()).certificates]


def test_a_replaced_key_is_no_longer_admitted(make: Make) -> None:
    made = make()
    old = fingerprint((join(made, "a") / "node.pub").read_text())
    sent = made.folder / "sent.pub"
    sent.write_text(new_key_pair()[1])
    register(made.folder, "a", sent, utc_now(), new_key=True)
    text = made.admitted.read_text().replace("\\+", "+")
    assert old not in text
    assert fingerprint(sent.read_text()) in text
    made.admitted.write_text("")  # a crash between two steps
    register(made.folder, "a", sent, utc_now(), new_key=False)
    assert made.admitted.read_text().replace("\\+", "+") == text


def test_without_the_cas_key_no_site_is_registered_but_one_can_be_revoked(make: Make) -> None:
    made = make()
    join(made, "a")
    made.ca_key.rename(made.folder.parent / "offline")
    with pytest.raises(SettingsError, match=r"expected the CA's key"):
        join(made, "b")
    assert list(made.registered_keys()) == ["a"]
    revoke(made.folder, "a", utc_now())
    assert made.admitted.read_text() == ""
    assert not made.site_certificate("a").exists()


def test_central_keys_and_mutual_tls_exclude_each_other(make: Make, tmp_path: Path) -> None:
    words = ["sites=[a]", "host=h.org", "mutual_tls=true", "central_keys=true"]
    assert fedrounds.main(["provision", *words, f"output_dir={tmp_path / 'x'}"]) == 2
    assert not (tmp_path / "x").exists()
    with pytest.raises(SettingsError, match="with mutual_tls each site makes its key itself"):
        add(make().folder, "c", AddSettings(central_keys=True), utc_now())


def test_the_commands_say_what_to_send(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = make()
    kit = made.folder.parent / "kits" / "a"
    assert fedrounds.main(["client", "init", str(kit)]) == 0
    assert "node.crt" in capsys.readouterr().out
    words = ["provision", "register", str(made.folder), "a", str(kit / "node.pub")]
    assert fedrounds.main(words) == 0
    assert str(made.site_certificate("a")) in capsys.readouterr().out
    assert fedrounds.main(["provision", "renew", str(made.folder)]) == 0
    assert "send each site" in capsys.readouterr().out


def test_without_the_setting_nothing_of_it_is_there(consortium: Consortium) -> None:
    assert "ssl_verify_client" not in consortium.nginx_conf.read_text()
    assert not consortium.admitted.exists()
    sent = consortium.folder / "sent.pub"
    sent.write_text(new_key_pair()[1])
    register(consortium.folder, "north", sent, NOW, new_key=False)
    assert not consortium.site_certificate("north").exists()
    write_admitted(consortium)
    assert stat.S_IMODE(consortium.folder.stat().st_mode) == 0o700
