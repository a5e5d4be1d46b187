"""nginx as it is configured here, a stand-in for the SuperLink behind it, and callers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.processes import is_listening
from server.provision.consortium import Consortium

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
FLEET = "/v1/fleet/push-object"
MEGABYTE = 1 << 20
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass
class SuperLink:
    """Answers every POST with its path, headers and the number of bytes that came."""

    seen: list[str] = field(default_factory=list)
    status: int = 200

    @contextmanager
    def serving(self, certificate: Path, key: Path, port: int) -> Iterator[None]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.seen.append(self.path)
                count = 0
                while count < int(self.headers.get("Content-Length", 0)):
                    count += len(self.rfile.read1(MEGABYTE))
                answer = {"path": self.path, "bytes": count, "headers": dict(self.headers)}
                body = json.dumps(answer).encode()
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:  # keeps the tests' output clean
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def nginx(consortium: Consortium) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        consortium.nginx_command(NGINX or "nginx"), stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not is_listening(consortium.port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def trusting(consortium: Consortium) -> ssl.SSLContext:
    """What a holder of a kit's ca.crt connects with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(consortium.folder.parent / "kits" / "a" / "ca.crt")
    return context


def ask(
    consortium: Consortium, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", consortium.port, context=trusting(consortium), timeout=20
    )
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def say(consortium: Consortium, text: bytes) -> bytes:
    """Send raw bytes over TLS; returns what comes back, up to the end of the headers."""
    with (
        socket.create_connection(("127.0.0.1", consortium.port), timeout=20) as plain,
        trusting(consortium).wrap_socket(plain, server_hostname="127.0.0.1") as stream,
    ):
        stream.sendall(text)
        found = b""
        while b"\r\n\r\n" not in found and (chunk := stream.recv(65536)):
            found += chunk
        return found


def logged(consortium: Consortium) -> list[dict[str, Any]]:
    time.sleep(0.1)  # a line is written after its answer
    text = (consortium.folder / "proxy" / "access.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
