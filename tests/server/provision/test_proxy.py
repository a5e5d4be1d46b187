"""The generated nginx.conf, with nginx itself between a client and a stand-in for the SuperLink."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.processes import free_port
from server.provision.consortium import Consortium, utc_now
from server.provision.create import create
from server.provision.proxy import listen_address, local_address
from server.provision.settings import ProvisionSettings
from tests.server.provision.proxied import (
    FLEET,
    MEGABYTE,
    NGINX,
    SuperLink,
    ask,
    logged,
    needs_nginx,
    nginx,
    say,
    trusting,
)


@pytest.mark.parametrize(
    ("host", "expected", "local"),
    [
        ("fl.example.org", "8443", "127.0.0.1"),
        ("10.0.0.7", "8443", "127.0.0.1"),
        ("localhost", "127.0.0.1:8443", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1:8443", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2:8443", "127.0.0.2"),
        ("::1", "[::1]:8443", "::1"),
        ("2001:db8::1", "[::]:8443", "::1"),
    ],
)
def test_the_proxy_listens_on_loopback_where_the_host_is_that(
    host: str, expected: str, local: str
) -> None:
    assert listen_address(host, 8443) == expected
    assert local_address(host) == local


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """A consortium on this machine, on two ports that are free."""
    settings = ProvisionSettings(
        sites=("a",),
        host="127.0.0.1",
        port=free_port(),
        superlink_port=free_port(),
        output_dir=str(tmp_path_factory.mktemp("proxy") / "consortium"),
    )
    return create(settings, utc_now())


@pytest.fixture(scope="module")
def running(local: Consortium) -> Iterator[SuperLink]:
    superlink = SuperLink()
    certificate, key = local.superlink_certificate, local.superlink_key
    with superlink.serving(certificate, key, local.superlink_port), nginx(local):
        yield superlink


@pytest.fixture
def superlink(running: SuperLink) -> SuperLink:
    running.seen.clear()
    running.status = 200
    return running


@needs_nginx
@pytest.mark.integration
@pytest.mark.parametrize(
    "host", ["fl.example.org", "10.0.0.7", "127.0.0.1", f"{'a' * 60}.{'b' * 63}.example.org"]
)
def test_nginx_accepts_the_configuration(tmp_path: Path, host: str) -> None:
    settings = ProvisionSettings(
        sites=("a",), host=host, port=free_port(), output_dir=str(tmp_path / "c"), zip=False
    )
    made = create(settings, utc_now())
    words = [*made.nginx_command(NGINX or "nginx"), "-t"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "test is successful" in tried.stderr
    assert "[warn]" not in tried.stderr


@needs_nginx
@pytest.mark.integration
@pytest.mark.parametrize(
    "call",
    [
        *("register-node", "activate-node", "deactivate-node", "unregister-node"),
        *("send-node-heartbeat", "pull-messages", "push-messages", "get-run", "get-fab"),
        *("push-object", "pull-object", "confirm-message-received"),
    ],
)
def test_every_call_of_a_supernode_passes(
    local: Consortium, superlink: SuperLink, call: str
) -> None:
    status, body = ask(local, "POST", f"/v1/fleet/{call}", b"12345", flwr_public_key="abc")
    assert status == 200
    answer = json.loads(body)
    assert (answer["path"], answer["bytes"]) == (f"/v1/fleet/{call}", 5)
    assert answer["headers"]["flwr-public-key"] == "abc"


@needs_nginx
@pytest.mark.integration
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/control/register-node"),
        ("POST", "/v1/runtime/pull-app-inputs"),
        ("POST", "/flwr.proto.Control/StartRun"),
        ("POST", "/v1/fleet"),
        ("POST", "/v1/fleet/"),
        ("POST", "/v1/fleet/push-object/"),
        ("POST", "/v1/fleet/push-object?x=1"),
        ("POST", "/v1/fleet/push-object/more"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "/v1/fleet/..%2fcontrol/start-run"),
        ("POST", "/v1/fleet/..;/control/start-run"),
        ("POST", "/v1/fleet/%252e%252e/control/start-run"),
        ("POST", "/v1/control/%2e%2e/fleet/push-object"),
        ("POST", "/v1/control/../fleet/push-object"),
        ("POST", "/v1/fleet/%70ush-object"),
        ("POST", "//v1/fleet/push-object"),
        ("POST", "/v1//fleet/push-object"),
        ("POST", "/./v1/fleet/push-object"),
        ("POST", "/v1/fleet/push-object%00"),
        ("POST", "/V1/FLEET/push-object"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/health"),
        ("GET", FLEET),
        ("PUT", FLEET),
        ("DELETE", FLEET),
        ("OPTIONS", FLEET),
        ("CONNECT", "127.0.0.1:8000"),
        ("TRACE", FLEET),
    ],
)
def test_nothing_else_reaches_the_superlink(
    local: Consortium, superlink: SuperLink, method: str, path: str
) -> None:
    status, _ = ask(local, method, path)
    assert status in (400, 403, 405)
    assert status == 403 or method in ("CONNECT", "TRACE") or "%00" in path
    assert superlink.seen == []


@needs_nginx
@pytest.mark.integration
@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /v1/control/start-run HTTP/1.1\r\n\r\n",
        b"POST https://127.0.0.1/v1/control/start-run HTTP/1.1\r\nHost: x\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n",
        b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        b"Content-Length: 60\r\n\r\n",
        b"POST /v1/fleet/push-object\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_requests_made_to_be_read_in_two_ways_are_refused(
    local: Consortium, superlink: SuperLink, request_: bytes
) -> None:
    answer = say(local, request_)
    assert b" 200 " not in answer
    assert superlink.seen == []


@needs_nginx
@pytest.mark.integration
def test_a_second_request_in_the_first_ones_body_is_body(
    local: Consortium, superlink: SuperLink
) -> None:
    inner = b"POST /v1/control/start-run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    status, body = ask(local, "POST", FLEET, inner)
    assert (status, json.loads(body)["bytes"]) == (200, len(inner))
    assert superlink.seen == [FLEET]


@needs_nginx
@pytest.mark.integration
def test_what_a_caller_says_of_its_address_is_dropped(
    local: Consortium, superlink: SuperLink
) -> None:
    _, body = ask(local, "POST", FLEET, X_Forwarded_For="10.9.9.9", X_Forwarded_Proto="http")
    headers = json.loads(body)["headers"]
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "https"


@needs_nginx
@pytest.mark.integration
def test_the_superlinks_refusals_pass_as_they_are(local: Consortium, superlink: SuperLink) -> None:
    superlink.status = 401
    status, body = ask(local, "POST", FLEET, flwr_public_key="stranger")
    assert status == 401
    assert json.loads(body)["path"] == FLEET
    assert logged(local)[-1]["status"] == "401"
    assert logged(local)[-1]["node"] == "stranger"


@needs_nginx
@pytest.mark.integration
def test_large_bodies_stream_through_and_touch_no_disk(
    local: Consortium, superlink: SuperLink
) -> None:
    status, body = ask(local, "POST", FLEET, bytes(64 * MEGABYTE))
    assert (status, json.loads(body)["bytes"]) == (200, 64 * MEGABYTE)
    files = {p.name for p in (local.folder / "proxy").rglob("*") if p.is_file()}
    assert files == {"access.jsonl", "error.log", "nginx.pid"}
    head = f"POST {FLEET} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 31}\r\n\r\n"
    assert b" 413 " in say(local, head.encode())


@needs_nginx
@pytest.mark.integration
def test_polls_that_went_well_are_not_logged_and_refusals_are(
    local: Consortium, superlink: SuperLink
) -> None:
    before = len(logged(local))
    for call in ("pull-messages", "send-node-heartbeat", "activate-node"):
        assert ask(local, "POST", f"/v1/fleet/{call}")[0] == 200
    ask(local, "POST", '/v1/control/start-run"\\')
    lines = logged(local)[before:]
    assert [(x["uri"], x["status"]) for x in lines] == [
        ("/v1/fleet/activate-node", "200"),
        ('/v1/control/start-run"\\', "403"),
    ]
    assert {x["address"] for x in lines} == {"127.0.0.1"}
    assert {x["tls"] for x in lines} == {"TLSv1.3"}


@needs_nginx
@pytest.mark.integration
def test_plain_text_old_tls_and_strangers_cas_are_refused(
    local: Consortium, superlink: SuperLink, tmp_path: Path
) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", local.port, timeout=20)
    plain.request("POST", FLEET, body=b"")
    assert plain.getresponse().status == 400
    plain.close()
    assert logged(local)[-1]["tls"] == ""

    old = trusting(local)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    other = create(
        ProvisionSettings(sites=("a",), host="127.0.0.1", output_dir=str(tmp_path / "other")),
        utc_now(),
    )
    for context, name, expected in (
        (old, "127.0.0.1", "version"),
        (trusting(other), "127.0.0.1", "CERTIFICATE_VERIFY_FAILED"),
        (trusting(local), "fl.example.org", "mismatch"),
    ):
        with (
            socket.create_connection(("127.0.0.1", local.port), timeout=20) as raw,
            pytest.raises(ssl.SSLError, match=expected),
        ):
            context.wrap_socket(raw, server_hostname=name)
    time.sleep(0.1)
    errors = (local.folder / "proxy" / "error.log").read_text(encoding="utf-8")
    assert "SSL_do_handshake() failed" in errors
    assert superlink.seen == []


@needs_nginx
@pytest.mark.integration
def test_a_superlink_that_is_down_or_an_impostor_gives_502(tmp_path: Path) -> None:
    made = create(
        ProvisionSettings(
            sites=("a",),
            host="127.0.0.1",
            port=free_port(),
            superlink_port=free_port(),
            output_dir=str(tmp_path / "consortium"),
        ),
        utc_now(),
    )
    other = create(
        ProvisionSettings(sites=("a",), host="127.0.0.1", output_dir=str(tmp_path / "other")),
        utc_now(),
    )
    with nginx(made):
        assert ask(made, "POST", FLEET)[0] == 502
        impostor, right = SuperLink(), SuperLink()
        with impostor.serving(
            other.superlink_certificate, other.superlink_key, made.superlink_port
        ):
            assert ask(made, "POST", FLEET)[0] == 502
        with right.serving(made.superlink_certificate, made.superlink_key, made.superlink_port):
            assert ask(made, "POST", FLEET)[0] == 200
    assert (impostor.seen, right.seen) == ([], [FLEET])
    assert not (made.folder / "proxy" / "nginx.pid").exists()
