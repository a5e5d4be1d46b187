"""The certificates, checked by two others: cryptography's verifier and OpenSSL."""

from __future__ import annotations

import ipaddress
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from common.errors import SettingsError
from server.provision.certificates import (
    new_authority,
    new_key,
    new_server_certificate,
    server_names,
)
from server.provision.command import main
from server.provision.consortium import Consortium, read_certificate
from server.provision.create import create
from server.provision.renew import renew
from server.provision.settings import ProvisionSettings
from tests.server.provision.conftest import NOW


def verify(authority: Path, certificate: Path, name: str, at: datetime) -> None:
    """Build the chain as a TLS client would."""
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    store = Store([read_certificate(authority)])
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(subject)  # type: ignore[arg-type]
    verifier.verify(read_certificate(certificate), [])


def made(tmp_path: Path, host: str) -> Consortium:
    settings = ProvisionSettings(
        sites=("a",), host=host, output_dir=str(tmp_path / "out"), zip=False
    )
    return create(settings, NOW)


@pytest.mark.parametrize(
    ("host", "names", "strangers"),
    [
        ("fl.example.org", ["fl.example.org"], ["localhost", "127.0.0.1", "example.org"]),
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4", "localhost", "127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1", "localhost"], ["fl.example.org", "127.0.0.2"]),
        ("localhost", ["127.0.0.1", "localhost"], ["fl.example.org", "::1"]),
        ("::1", ["127.0.0.1", "localhost", "::1"], ["fl.example.org"]),
        ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]),
    ],
)
def test_the_chain_holds_for_the_hosts_names_and_no_other(
    tmp_path: Path, host: str, names: list[str], strangers: list[str]
) -> None:
    consortium = made(tmp_path, host)
    ca, server = consortium.ca_certificate, consortium.server_certificate
    for name in names:
        verify(ca, server, name, NOW)
    for name in strangers:
        with pytest.raises(VerificationError):
            verify(ca, server, name, NOW)
    for name in ("localhost", "127.0.0.1"):
        verify(ca, consortium.superlink_certificate, name, NOW)
    if host not in ("localhost", "127.0.0.1"):
        with pytest.raises(VerificationError):
            verify(ca, consortium.superlink_certificate, host, NOW)


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        (NOW - timedelta(minutes=6), False),
        (NOW - timedelta(minutes=4), True),
        (NOW + timedelta(days=364), True),
        (NOW + timedelta(days=365, seconds=1), False),
    ],
)
def test_the_certificate_holds_from_five_minutes_before_for_its_days(
    consortium: Consortium, at: datetime, holds: bool
) -> None:
    arguments = (consortium.ca_certificate, consortium.server_certificate, "fl.example.org", at)
    if holds:
        verify(*arguments)
    else:
        with pytest.raises(VerificationError, match="not valid at"):
            verify(*arguments)


def test_openssl_agrees_in_its_strict_mode(consortium: Consortium) -> None:
    def openssl(certificate: Path, name: str) -> subprocess.CompletedProcess[str]:
        words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
        words += ["-attime", str(int(NOW.timestamp())), "-verify_hostname", name]
        words += ["-CAfile", str(consortium.ca_certificate), str(certificate)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    assert openssl(consortium.server_certificate, "fl.example.org").returncode == 0
    assert openssl(consortium.superlink_certificate, "localhost").returncode == 0
    assert "hostname mismatch" in openssl(consortium.server_certificate, "other.org").stderr


def test_another_consortiums_ca_does_not_vouch(tmp_path: Path, consortium: Consortium) -> None:
    other = made(tmp_path, "fl.example.org")
    with pytest.raises(VerificationError):
        verify(other.ca_certificate, consortium.server_certificate, "fl.example.org", NOW)


def test_the_ca_signs_no_further_ca(consortium: Consortium) -> None:
    authority = read_certificate(consortium.ca_certificate)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert authority.not_valid_after_utc == NOW + timedelta(days=3650)


def test_the_server_certificate_is_one_for_servers(consortium: Consortium) -> None:
    server = read_certificate(consortium.server_certificate)
    found = {e.oid._name: e.critical for e in server.extensions}
    assert found == {
        "basicConstraints": True,
        "keyUsage": True,
        "extendedKeyUsage": False,
        "subjectAltName": False,
        "subjectKeyIdentifier": False,
        "authorityKeyIdentifier": False,
    }
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    key = server.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP384R1)


def test_serials_and_keys_are_never_the_same(consortium: Consortium) -> None:
    files = (
        consortium.ca_certificate,
        consortium.server_certificate,
        consortium.superlink_certificate,
    )
    found = [read_certificate(path) for path in files]
    assert len({c.serial_number for c in found}) == 3
    assert min(c.serial_number.bit_length() for c in found) > 64
    assert len({c.public_key().public_numbers() for c in found}) == 3  # type: ignore[union-attr]


def test_renewal_gives_new_certificates_of_the_same_ca_and_keys(consortium: Consortium) -> None:
    ca = consortium.ca_certificate.read_bytes()
    later = NOW + timedelta(days=360)
    before = read_certificate(consortium.server_certificate)
    renew(consortium.folder, 100, later)
    after = read_certificate(consortium.server_certificate)
    assert after.serial_number != before.serial_number
    assert after.public_key() == before.public_key()
    assert consortium.ca_certificate.read_bytes() == ca
    assert consortium.certificate_expiry() == later + timedelta(days=100)
    verify(
        consortium.ca_certificate,
        consortium.server_certificate,
        "fl.example.org",
        later + timedelta(days=99),
    )
    assert '"event": "renewed"' in (consortium.folder / "audit.jsonl").read_text()


def test_a_certificate_never_outlives_its_ca(consortium: Consortium) -> None:
    end = NOW + timedelta(days=3650)
    renew(consortium.folder, 365, end - timedelta(days=10))
    assert read_certificate(consortium.server_certificate).not_valid_after_utc == end
    old = consortium.server_certificate.read_bytes()
    with pytest.raises(SettingsError, match="the CA ended on"):
        renew(consortium.folder, 365, end + timedelta(days=1))
    assert consortium.server_certificate.read_bytes() == old


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("ca.key", None, "put it back from where you keep it"),
        ("ca.key", b"nonsense", "expected a PEM private key"),
        ("ca.key", "server.key", "the key of another CA"),
        ("server.key", None, "server.key: expected a private key"),
        ("superlink.key", b"", "superlink.key: expected a PEM private key"),
        ("ca.crt", b"x", "ca.crt: expected a PEM certificate"),
    ],
)
def test_a_renewal_that_cannot_be_done_changes_nothing(
    consortium: Consortium, file: str, content: bytes | str | None, expected: str
) -> None:
    path = consortium.folder / file
    if content is None:
        path.unlink()
    else:
        new = content if isinstance(content, bytes) else (consortium.folder / content).read_bytes()
        path.write_bytes(new)
    kept = ("server.crt", "superlink.crt")
    before = [(consortium.folder / name).read_bytes() for name in kept]
    with pytest.raises(SettingsError, match=expected):
        main(["renew", str(consortium.folder)])
    assert [(consortium.folder / name).read_bytes() for name in kept] == before


def test_days_of_a_renewal_are_checked(consortium: Consortium) -> None:
    with pytest.raises(SettingsError, match="days: expected 1 to 3650, got 0"):
        main(["renew", str(consortium.folder), "days=0"])


def test_a_long_name_fits_into_a_certificate() -> None:
    key = new_key()
    authority = new_authority("x" * 64, key, NOW)
    host = ".".join(["y" * 63] * 3)
    found = new_server_certificate(authority, key, new_key(), server_names(host), NOW, 1)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [host]
